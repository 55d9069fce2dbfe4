/* Elements: a vector of strings, structs, tables or unions in a buffer, each read when it is asked for. */
#include "codec.h"

PyTypeObject *Elements_Type;

static Py_ssize_t elements_length(Elements *self) { return (Py_ssize_t)self->count; }

static PyObject *elements_item(Elements *self, Py_ssize_t index) {
    if (index < 0 || index >= (Py_ssize_t)self->count) {
        PyErr_SetString(PyExc_IndexError, "the vector is not so long");
        return NULL;
    }
    const FieldPlan *field = self->field;
    uint64_t at = self->at + (uint64_t)index * field->size, target;
    switch (field->kind) {
    case STRINGS:
        return read_string(self->plan, self->memory, at);
    case STRUCTS:
        return (PyObject *)message_view(field->sub, self->memory, at);
    case TABLES:
        if (follow(self->plan, self->memory, at, 4, &target) < 0)
            return NULL;
        return (PyObject *)message_view(field->sub, self->memory, target);
    default: /* read_elements() has seen to it that there are as many tags */
        return read_union(self->plan, field, self->memory, load_u8(self->memory->bytes + self->tags + index), at);
    }
}

static PyObject *elements_subscript(Elements *self, PyObject *key) {
    if (PyIndex_Check(key)) {
        Py_ssize_t index = PyNumber_AsSsize_t(key, PyExc_IndexError);
        if (index == -1 && PyErr_Occurred())
            return NULL;
        return elements_item(self, index < 0 ? index + (Py_ssize_t)self->count : index);
    }
    Py_ssize_t start, stop, step;
    if (!PySlice_Check(key)) {
        PyErr_SetString(PyExc_TypeError, "a vector's index is a number or a slice");
        return NULL;
    }
    if (PySlice_Unpack(key, &start, &stop, &step) < 0)
        return NULL;
    Py_ssize_t count = PySlice_AdjustIndices((Py_ssize_t)self->count, &start, &stop, step);
    PyObject *part = PyList_New(count);
    for (Py_ssize_t i = 0; part && i < count; i++, start += step) {
        PyObject *element = elements_item(self, start);
        if (!element)
            Py_CLEAR(part);
        else
            PyList_SetItem(part, i, element);
    }
    return part;
}

static PyObject *elements_compare(PyObject *self, PyObject *other, int operation) {
    if ((operation != Py_EQ && operation != Py_NE) || !PySequence_Check(other) || PyUnicode_Check(other)) {
        Py_INCREF(Py_NotImplemented);
        return Py_NotImplemented;
    }
    uint64_t budget = budget_of(((Elements *)self)->memory);
    int equal = equal_lists(self, other, &budget);
    return equal < 0 ? NULL : PyBool_FromLong(equal == (operation == Py_EQ));
}

/* By way of copies, since elements may share what they hold. */
static PyObject *elements_repr(Elements *self) {
    uint64_t budget = budget_of(self->memory);
    PyObject *all = PyList_New(0), *text = NULL;
    Py_ssize_t i = 0;
    for (; all && i < (Py_ssize_t)self->count; i++) {
        PyObject *element = elements_item(self, i);
        if (element && spend(self->plan, &budget, cost_of(element)) < 0)
            Py_CLEAR(element);
        if (element && PyObject_TypeCheck(element, Message_Type)) {
            PyObject *copy = (PyObject *)message_copied((Message *)element, &budget);
            Py_DECREF(element);
            element = copy;
        }
        int failed = !element || PyList_Append(all, element);
        Py_XDECREF(element);
        if (failed)
            Py_CLEAR(all);
    }
    if (all)
        text = PyObject_Repr(all);
    Py_XDECREF(all);
    return text;
}

static PyObject *elements_index(PyObject *self, PyObject *value) {
    Py_ssize_t index = PySequence_Index(self, value);
    return index < 0 ? NULL : PyLong_FromSsize_t(index);
}

static PyObject *elements_count(PyObject *self, PyObject *value) {
    Py_ssize_t count = PySequence_Count(self, value);
    return count < 0 ? NULL : PyLong_FromSsize_t(count);
}

static void elements_dealloc(Elements *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_DECREF(self->memory);
    Py_DECREF(self->plan);
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

static int elements_traverse(Elements *self, visitproc visit, void *arg) {
    Py_VISIT((PyObject *)self->memory);
    Py_VISIT((PyObject *)self->plan);
    Py_VISIT((PyObject *)Py_TYPE(self));
    return 0;
}

static PyMethodDef methods[] = {{"index", elements_index, METH_O, "Place of the first element that equals a value."},
                                {"count", elements_count, METH_O, "How many elements equal a value."},
                                {NULL}};
static PyType_Slot slots[] = {{Py_tp_dealloc, elements_dealloc},
                              {Py_tp_traverse, elements_traverse},
                              {Py_sq_length, elements_length},
                              {Py_sq_item, elements_item},
                              {Py_mp_length, elements_length},
                              {Py_mp_subscript, elements_subscript},
                              {Py_tp_richcompare, elements_compare},
                              {Py_tp_hash, PyObject_HashNotImplemented},
                              {Py_tp_repr, elements_repr},
                              {Py_tp_methods, methods},
                              {0, NULL}};
static PyType_Spec spec = {.name = "lunar._native._codec.Elements",
                           .basicsize = sizeof(Elements),
                           .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
                           .slots = slots};

int elements_register(PyObject *module) { return codec_register_type(module, &spec, &Elements_Type); }
