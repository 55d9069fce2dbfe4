/* Reading: from a field's place in a buffer to a Python object, one field at a time. */
#include "codec.h"

PyObject *refuse_bytes(const Plan *plan, const char *what) {
    PyErr_Format(VerificationError, "not a %U: %s", plan->name, what);
    return NULL;
}

int find_field(const Plan *plan, const Memory *memory, uint64_t table, uint32_t id, uint32_t size, uint64_t *at) {
    if (!within(memory, table, 4))
        goto outside;
    int64_t vtable = (int64_t)table - load_i32(memory->bytes + table);
    if (vtable < 0 || !within(memory, (uint64_t)vtable, 4))
        goto outside;
    uint32_t entry = 4 + 2 * id;
    if (entry + 2 > load_u16(memory->bytes + vtable))
        return 0;
    if (!within(memory, (uint64_t)vtable + entry, 2))
        goto outside;
    uint16_t offset = load_u16(memory->bytes + vtable + entry);
    if (!offset)
        return 0;
    *at = table + offset;
    if (!within(memory, *at, size))
        goto outside;
    return 1;
outside:
    refuse_bytes(plan, "a table reaches beyond the buffer");
    return -1;
}

int follow(const Plan *plan, const Memory *memory, uint64_t at, uint64_t *target) {
    if (within(memory, at, 4)) {
        *target = at + load_u32(memory->bytes + at);
        if (within(memory, *target, 4))
            return 0;
    }
    refuse_bytes(plan, "an offset points beyond the buffer");
    return -1;
}

int vector_at(const Plan *plan, const Memory *memory, uint64_t at, uint32_t element_bytes, uint64_t *first,
              uint32_t *count) {
    uint64_t start;
    if (follow(plan, memory, at, &start) < 0)
        return -1;
    *count = load_u32(memory->bytes + start);
    *first = start + 4;
    if (within(memory, *first, (uint64_t)*count * element_bytes))
        return 0;
    refuse_bytes(plan, "a vector reaches beyond the buffer");
    return -1;
}

PyObject *read_string(const Plan *plan, const Memory *memory, uint64_t at) {
    uint64_t first;
    uint32_t count;
    if (vector_at(plan, memory, at, 1, &first, &count) < 0)
        return NULL;
    PyObject *text = PyUnicode_DecodeUTF8((const char *)memory->bytes + first, count, NULL);
    if (!text && PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) {
        PyErr_Clear();
        return refuse_bytes(plan, "a string is not UTF-8");
    }
    return text;
}

Message *message_view(Plan *plan, Memory *memory, uint64_t at, bool private) {
    if (!plan->cls)
        return (Message *)refuse_bytes(plan, "its class is gone");
    Message *self = (Message *)PyType_GenericAlloc((PyTypeObject *)plan->cls, 0);
    if (!self)
        return NULL;
    Py_INCREF(plan);
    self->plan = plan;
    Py_INCREF(memory);
    self->memory = memory;
    self->at = at;
    self->private = private;
    return self;
}

/* A field's array in memory, which the array keeps alive. */
static PyObject *make_array(const FieldPlan *field, PyObject *buffer) {
    PyObject *array = buffer ? PyObject_CallFunctionObjArgs(field->array, buffer, NULL) : NULL;
    Py_XDECREF(buffer);
    return array;
}

PyObject *empty_vector(const FieldPlan *field) {
    if (field->absent == Py_None) {
        Py_RETURN_NONE;
    }
    if (field->kind == SCALARS)
        return make_array(field, PyBytes_FromStringAndSize(NULL, 0));
    return PyList_New(0);
}

static PyObject *read_array(Message *self, const FieldPlan *field, uint64_t first, uint64_t count) {
    if ((field->exactly && count != field->exactly) || (field->multiple > 1 && count % field->multiple))
        return refuse_bytes(self->plan, "a vector has another number of elements than its shape allows");
    uint64_t size = count * field->size;
    return make_array(field, memory_slice(self->memory, first, size, self->memory->writable));
}

static PyObject *read_elements(Message *self, const FieldPlan *field, uint64_t at) {
    uint64_t first, tags = 0;
    uint32_t count, tag_count;
    if (vector_at(self->plan, self->memory, at, field->size, &first, &count) < 0)
        return NULL;
    if (field->kind == SCALARS)
        return read_array(self, field, first, count);
    if (field->kind == UNIONS) {
        uint64_t tags_at;
        int found = find_field(self->plan, self->memory, self->at, field->id - 1u, 4, &tags_at);
        if (found < 0 || (found && vector_at(self->plan, self->memory, tags_at, 1, &tags, &tag_count) < 0))
            return NULL;
        if (!found || tag_count != count)
            return refuse_bytes(self->plan, "a vector of unions has another number of tags");
    }
    Elements *elements = PyObject_New(Elements, Elements_Type);
    if (!elements)
        return NULL;
    Py_INCREF(self->plan);
    elements->plan = self->plan;
    elements->field = field;
    Py_INCREF(self->memory);
    elements->memory = self->memory;
    elements->at = first;
    elements->tags = tags;
    elements->count = count;
    elements->private = self->private;
    return (PyObject *)elements;
}

const UnionMember *union_member(const FieldPlan *field, uint8_t tag) {
    for (uint32_t i = 0; i < field->member_count; i++)
        if (field->members[i].tag == tag)
            return &field->members[i];
    return NULL;
}

PyObject *read_union(Plan *plan, const FieldPlan *field, Memory *memory, uint8_t tag, uint64_t at, bool private) {
    const UnionMember *member = union_member(field, tag);
    if (!member) /* NONE, or of a newer schema */
        Py_RETURN_NONE;
    if (!member->plan)
        return read_string(plan, memory, at);
    uint64_t target;
    if (follow(plan, memory, at, &target) < 0)
        return NULL;
    if (member->plan->is_struct && !within(memory, target, member->plan->size))
        return refuse_bytes(plan, "a struct reaches beyond the buffer");
    return (PyObject *)message_view(member->plan, memory, target, private);
}

static PyObject *read_table_union(Message *self, const FieldPlan *field, uint64_t at) {
    uint64_t tag_at;
    int found = find_field(self->plan, self->memory, self->at, field->id - 1u, 1, &tag_at);
    if (found < 0)
        return NULL;
    uint8_t tag = found ? self->memory->bytes[tag_at] : 0;
    return read_union(self->plan, field, self->memory, tag, at, self->private);
}

/* A field that is there, at `at`. */
static PyObject *read_present(Message *self, const FieldPlan *field, uint64_t at) {
    uint64_t target;
    switch (field->kind) {
    case SCALAR:
        return scalar_object(field, scalar_load(field->base, self->memory->bytes + at));
    case STRING:
        return read_string(self->plan, self->memory, at);
    case STRUCT:
        return (PyObject *)message_view(field->sub, self->memory, at, self->private);
    case TABLE:
        if (follow(self->plan, self->memory, at, &target) < 0)
            return NULL;
        return (PyObject *)message_view(field->sub, self->memory, target, self->private);
    case UNION:
        return read_table_union(self, field, at);
    default:
        return read_elements(self, field, at);
    }
}

static PyObject *read_struct_field(Message *self, const FieldPlan *field) {
    uint64_t at = self->at + field->offset;
    if (!within(self->memory, at, field->size * (uint64_t)(field->length ? field->length : 1)))
        return refuse_bytes(self->plan, "a struct reaches beyond the buffer");
    if (field->kind == SCALARS)
        return make_array(field, memory_slice(self->memory, at, (uint64_t)field->length * field->size,
                                              self->memory->writable));
    if (field->kind != STRUCTS)
        return read_present(self, field, at);
    PyObject *all = PyTuple_New(field->length);
    for (uint32_t i = 0; all && i < field->length; i++) {
        Message *each = message_view(field->sub, self->memory, at + (uint64_t)i * field->size, self->private);
        if (!each)
            Py_CLEAR(all);
        else
            PyTuple_SetItem(all, i, (PyObject *)each);
    }
    return all;
}

static PyObject *read_absent(const FieldPlan *field) {
    if (field->kind >= SCALARS)
        return empty_vector(field);
    Py_INCREF(field->absent);
    return field->absent;
}

static PyObject *read_value(Message *self, const FieldPlan *field) {
    PyObject **place = &self->values[field - self->plan->fields];
    if (!*place) {
        if (field->kind < SCALARS || field->absent == Py_None)
            return read_absent(field);
        PyObject *empty = empty_vector(field); /* kept: the user may append to it */
        if (*place) /* another thread was here */
            Py_XDECREF(empty);
        else
            *place = empty;
    } else if (field->kind == SCALARS && *place != Py_None) {
        /* Whatever buffer it was set to, it reads as an array. Meanwhile another thread may set it to something else. */
        PyObject *buffer = *place;
        Py_INCREF(buffer);
        PyObject *array = PyObject_CallFunctionObjArgs(field->array, buffer, NULL);
        if (array && array != buffer && *place == buffer) {
            Py_INCREF(array);
            *place = array;
            Py_DECREF(buffer);
        }
        Py_DECREF(buffer);
        return array;
    }
    Py_XINCREF(*place);
    return *place;
}

PyObject *read_field(Message *self, const FieldPlan *field) {
    if (self->values)
        return read_value(self, field);
    if (self->plan->is_struct)
        return read_struct_field(self, field);
    uint32_t size = field->kind == SCALAR || field->kind == STRUCT ? field->size : 4;
    uint64_t at;
    int found = find_field(self->plan, self->memory, self->at, field->id, size, &at);
    if (found < 0)
        return NULL;
    return found ? read_present(self, field, at) : read_absent(field);
}
