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
        return (PyObject *)message_view(field->sub, self->memory, at, self->private);
    case TABLES:
        if (follow(self->plan, self->memory, at, &target) < 0)
            return NULL;
        return (PyObject *)message_view(field->sub, self->memory, target, self->private);
    default: /* read_elements() has seen to it that there are as many tags */
        return read_union(self->plan, field, self->memory, self->memory->bytes[self->tags + (uint64_t)index], at,
                          self->private);
    }
}

static PyObject *elements_subscript(Elements *self, PyObject *key) {
    if (PyIndex_Check(key)) {
        Py_ssize_t index = PyNumber_AsSsize_t(key, PyExc_IndexError);
        if (index == -1 && PyErr_Occurred())
            return NULL;
        return elements_item(self, index < 0 ? index + (Py_ssize_t)self->count : index);
    }
    PyObject *all = PySequence_List((PyObject *)self);
    PyObject *part = all ? PyObject_GetItem(all, key) : NULL;
    Py_XDECREF(all);
    return part;
}

static PyObject *elements_compare(PyObject *self, PyObject *other, int operation) {
    if ((operation != Py_EQ && operation != Py_NE) || !PySequence_Check(other) || PyUnicode_Check(other)) {
        Py_INCREF(Py_NotImplemented);
        return Py_NotImplemented;
    }
    PyObject *mine = PySequence_List(self), *theirs = mine ? PySequence_List(other) : NULL;
    PyObject *result = theirs ? PyObject_RichCompare(mine, theirs, operation) : NULL;
    Py_XDECREF(mine);
    Py_XDECREF(theirs);
    return result;
}

static PyObject *elements_repr(PyObject *self) {
    PyObject *all = PySequence_List(self);
    PyObject *text = all ? PyObject_Repr(all) : NULL;
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
    Py_DECREF(self->memory);
    Py_DECREF(self->plan);
    PyObject_Free(self);
    Py_DECREF(type);
}

static PyMethodDef methods[] = {{"index", elements_index, METH_O, "Place of the first element that equals a value."},
                                {"count", elements_count, METH_O, "How many elements equal a value."},
                                {NULL}};
static PyType_Slot slots[] = {{Py_tp_dealloc, elements_dealloc},
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
                           .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
                           .slots = slots};

int elements_register(PyObject *module) { return codec_register_type(module, &spec, &Elements_Type); }
