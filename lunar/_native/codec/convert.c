/* Setting: what the user gives is checked at once, and kept as the field will read. */
#include "codec.h"

/* Raise FieldError(message, field, expected, got). */
PyObject *refuse_value(const Plan *plan, const FieldPlan *field, PyObject *got, const char *expected) {
    PyObject *text = expected ? PyUnicode_FromFormat("%U: %s", field->expected, expected) : field->expected;
    if (!text)
        return NULL;
    PyObject *error = PyObject_CallFunctionObjArgs(FieldError, plan->name, field->name, text, got, NULL);
    if (expected)
        Py_DECREF(text);
    if (error) {
        PyErr_SetObject(FieldError, error);
        Py_DECREF(error);
    }
    return NULL;
}

static bool is_message_of(PyObject *value, const Plan *plan) {
    return PyObject_TypeCheck(value, Message_Type) && ((Message *)value)->plan == plan;
}

const UnionMember *union_member_for(const FieldPlan *field, PyObject *value) {
    for (uint32_t i = 0; i < field->member_count; i++) {
        const UnionMember *member = &field->members[i];
        if (member->is_string ? PyUnicode_Check(value) : is_message_of(value, member->plan))
            return member;
    }
    return NULL;
}

/* A value, or an element, that is not a number: is it of the right kind? */
static int check_object(const Plan *plan, const FieldPlan *field, PyObject *value) {
    bool right;
    switch (field->kind) {
    case STRING:
    case STRINGS:
        right = PyUnicode_Check(value);
        if (right && !PyUnicode_AsUTF8AndSize(value, NULL)) {
            if (!PyErr_ExceptionMatches(PyExc_UnicodeEncodeError))
                return -1;
            PyErr_Clear();
            refuse_value(plan, field, value, "it cannot be encoded as UTF-8");
            return -1;
        }
        break;
    case UNION:
    case UNIONS: /* None stands for NONE, and for an alternative that we do not know */
        right = union_member_for(field, value) || (field->kind == UNIONS && value == Py_None);
        break;
    default:
        right = is_message_of(value, field->sub);
    }
    if (!right)
        refuse_value(plan, field, value, NULL);
    return right ? 0 : -1;
}

static PyObject *convert_scalar(const Plan *plan, const FieldPlan *field, PyObject *value) {
    uint64_t bits;
    if (field->base == FLOAT64 && PyFloat_CheckExact(value)) {
        Py_INCREF(value);
        return value;
    }
    if (scalar_bits(plan, field, value, &bits) < 0)
        return NULL;
    PyObject *kept = scalar_object(field, bits);
    if (kept && field->enum_class) {
        int member = PyObject_IsInstance(kept, field->enum_class);
        if (member <= 0) {
            Py_CLEAR(kept);
            if (!member)
                refuse_value(plan, field, value, NULL);
        }
    }
    return kept;
}

static int check_count(const Plan *plan, const FieldPlan *field, PyObject *value, uint64_t count) {
    char expected[64];
    if (field->exactly && count != field->exactly)
        PyOS_snprintf(expected, sizeof expected, "%u elements", field->exactly);
    else if (field->multiple > 1 && count % field->multiple)
        PyOS_snprintf(expected, sizeof expected, "a multiple of %u elements", field->multiple);
    else if (count > MAX_BYTES)
        PyOS_snprintf(expected, sizeof expected, "less than 2 GiB");
    else
        return 0;
    refuse_value(plan, field, value, expected);
    return -1;
}

/* Elements in one row are what is written, so they do for any shape; other axes must be those of the field. */
static bool shape_fits(const FieldPlan *field, const Py_buffer *view) {
    if (view->ndim < 2 || field->axes < 2)
        return view->ndim > 0;
    if ((uint32_t)view->ndim != field->axes)
        return false;
    for (uint32_t i = 0; i < field->axes; i++)
        if (field->shape[i] && (uint64_t)view->shape[i] != field->shape[i])
            return false;
    return true;
}

/* Any buffer of the right format is kept as it is, if it has a length; one that is not contiguous is copied. */
static PyObject *convert_buffer(const Plan *plan, const FieldPlan *field, PyObject *value) {
    Py_buffer view;
    if (PyObject_GetBuffer(value, &view, PyBUF_FULL_RO) < 0) {
        if (PyErr_ExceptionMatches(PyExc_MemoryError))
            return NULL;
        PyErr_Clear(); /* NumPy's dates, for instance, are of no format that a buffer knows */
        return refuse_value(plan, field, value, NULL);
    }
    PyObject *kept = NULL;
    if (!scalar_format_fits(view.format, view.itemsize, field->base) || !shape_fits(field, &view)) {
        refuse_value(plan, field, value, NULL);
    } else if (check_count(plan, field, value, (uint64_t)(view.len / view.itemsize)) == 0) {
        if (PyBuffer_IsContiguous(&view, 'C')) {
            kept = PySequence_Check(value) ? value : PyMemoryView_FromObject(value);
            if (kept == value)
                Py_INCREF(value);
        } else {
            kept = PyByteArray_FromStringAndSize(NULL, view.len);
            if (kept && PyBuffer_ToContiguous(PyByteArray_AsString(kept), &view, view.len, 'C') < 0)
                Py_CLEAR(kept);
        }
    }
    PyBuffer_Release(&view);
    return kept;
}

static bool is_sequence(PyObject *value) {
    return PySequence_Check(value) && !PyUnicode_Check(value) && !PyDict_Check(value) &&
           !PyObject_TypeCheck(value, Message_Type);
}

/* The elements of a list of rows, one axis less deep; takes over `list`. */
static PyObject *unpack_rows(const Plan *plan, const FieldPlan *field, PyObject *value, PyObject *list,
                             uint32_t length) {
    PyObject *flat = PyList_New(0);
    for (Py_ssize_t i = 0; flat && i < PyList_Size(list); i++) {
        PyObject *each = PyList_GetItem(list, i), *row = is_sequence(each) ? PySequence_List(each) : NULL;
        if (!row || PyList_Size(row) != (Py_ssize_t)length) {
            if (!PyErr_Occurred())
                refuse_value(plan, field, value, NULL);
            Py_CLEAR(flat);
        } else if (PyList_SetSlice(flat, PyList_Size(flat), PyList_Size(flat), row) < 0)
            Py_CLEAR(flat);
        Py_XDECREF(row);
    }
    Py_DECREF(list);
    return flat;
}

/* The numbers of a sequence, which may be nested as the field's shape says. */
static PyObject *flat_list(const Plan *plan, const FieldPlan *field, PyObject *value) {
    PyObject *list = PySequence_List(value);
    bool nested = list && field->axes > 1 && PyList_Size(list) && is_sequence(PyList_GetItem(list, 0));
    for (uint32_t axis = 1; nested && list && axis < field->axes; axis++)
        list = unpack_rows(plan, field, value, list, field->shape[axis]);
    return list;
}

static PyObject *convert_numbers(const Plan *plan, const FieldPlan *field, PyObject *value) {
    PyObject *list = flat_list(plan, field, value);
    if (!list)
        return NULL;
    Py_ssize_t count = PyList_Size(list);
    PyObject *packed = NULL;
    if (check_count(plan, field, value, (uint64_t)count) == 0)
        packed = PyByteArray_FromStringAndSize(NULL, count * field->size);
    uint8_t *to = packed ? (uint8_t *)PyByteArray_AsString(packed) : NULL;
    for (Py_ssize_t i = 0; packed && i < count; i++, to += field->size) {
        uint64_t bits;
        if (scalar_bits(plan, field, PyList_GetItem(list, i), &bits) < 0)
            Py_CLEAR(packed);
        else
            scalar_store(field->base, to, bits);
    }
    Py_DECREF(list);
    return packed;
}

static PyObject *convert_elements(const Plan *plan, const FieldPlan *field, PyObject *value) {
    PyObject *list = PySequence_List(value);
    if (!list)
        return NULL;
    bool right = !field->length || (Py_ssize_t)field->length == PyList_Size(list) ||
                 (refuse_value(plan, field, value, NULL), false);
    for (Py_ssize_t i = 0; right && i < PyList_Size(list); i++)
        right = check_object(plan, field, PyList_GetItem(list, i)) == 0;
    if (right)
        return list;
    Py_DECREF(list);
    return NULL;
}

PyObject *convert_value(const Plan *plan, const FieldPlan *field, PyObject *value) {
    if (field->kind == SCALAR && (value != Py_None || !(field->flags & OPTIONAL)))
        return convert_scalar(plan, field, value);
    if (value == Py_None || (field->kind < SCALARS && check_object(plan, field, value) == 0)) {
        Py_INCREF(value);
        return value;
    }
    if (field->kind < SCALARS)
        return NULL;
    if (field->kind == SCALARS && PyObject_CheckBuffer(value))
        return convert_buffer(plan, field, value);
    if (!is_sequence(value))
        return refuse_value(plan, field, value, NULL);
    return field->kind == SCALARS ? convert_numbers(plan, field, value) : convert_elements(plan, field, value);
}

/* From bytes to values, for a copy that is to be changed: what it holds are views on the same private memory. */
int message_thaw(Message *self) {
    PyObject **values = PyMem_Calloc(self->plan->count + 1u, sizeof *values);
    if (!values) {
        PyErr_NoMemory();
        return -1;
    }
    for (uint32_t i = 0; i < self->plan->count; i++) {
        const FieldPlan *field = &self->plan->fields[i];
        uint64_t at;
        int there = find_field(self->plan, self->memory, self->at, field->id, 0, &at);
        if (!there)
            continue; /* stays absent, whatever that reads as */
        PyObject *value = there > 0 ? read_field(self, field) : NULL;
        if (value && PyObject_TypeCheck(value, Elements_Type)) {
            PyObject *list = PySequence_List(value);
            Py_DECREF(value);
            value = list;
        }
        if (!value) {
            while (i-- > 0)
                Py_XDECREF(values[i]);
            PyMem_Free(values);
            return -1;
        }
        if (value == Py_None)
            Py_DECREF(value);
        else
            values[i] = value;
    }
    self->values = values;
    return 0;
}
