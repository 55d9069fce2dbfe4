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

int spend(const Plan *plan, uint64_t *budget, uint64_t bytes) {
    if (*budget == UNLIMITED)
        return 0;
    if (bytes > *budget) {
        refuse_bytes(plan, "it is larger than its bytes can justify");
        return -1;
    }
    *budget -= bytes;
    return 0;
}

uint64_t cost_of(PyObject *value) {
    if (PyUnicode_Check(value))
        return 4 + (uint64_t)PyUnicode_GetLength(value);
    if (!PyObject_TypeCheck(value, Elements_Type))
        return 0;
    const Elements *elements = (const Elements *)value;
    return 4 + (uint64_t)elements->count * elements->field->size;
}

int follow(const Plan *plan, const Memory *memory, uint64_t at, uint64_t size, uint64_t *target) {
    if (within(memory, at, 4)) {
        *target = at + load_u32(memory->bytes + at);
        if (within(memory, *target, size))
            return 0;
    }
    refuse_bytes(plan, "an offset points beyond the buffer");
    return -1;
}

int vector_at(const Plan *plan, const Memory *memory, uint64_t at, uint32_t element_bytes, uint64_t *first,
              uint32_t *count) {
    uint64_t start;
    if (follow(plan, memory, at, 4, &start) < 0)
        return -1;
    *count = load_u32(memory->bytes + start);
    *first = start + 4;
    if (within(memory, *first, (uint64_t)*count * element_bytes))
        return 0;
    refuse_bytes(plan, "a vector reaches beyond the buffer");
    return -1;
}

/* Python's decoder looks more than once, and must see the same each time. */
static PyObject *decode_text(const Memory *memory, const uint8_t *bytes, uint32_t count) {
    uint8_t few[256], *copy = few;
    if (memory->owned)
        return PyUnicode_DecodeUTF8((const char *)bytes, count, NULL);
    if (count > sizeof few && !(copy = PyMem_Malloc(count)))
        return PyErr_NoMemory();
    memcpy(copy, bytes, count);
    PyObject *text = PyUnicode_DecodeUTF8((const char *)copy, count, NULL);
    if (copy != few)
        PyMem_Free(copy);
    return text;
}

PyObject *read_string(const Plan *plan, const Memory *memory, uint64_t at) {
    uint64_t first;
    uint32_t count;
    if (vector_at(plan, memory, at, 1, &first, &count) < 0)
        return NULL;
    PyObject *text = decode_text(memory, memory->bytes + first, count);
    if (!text && PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) {
        PyErr_Clear();
        return refuse_bytes(plan, "a string is not UTF-8");
    }
    return text;
}

Message *message_view(Plan *plan, Memory *memory, uint64_t at) {
    if (!plan || !plan->cls) { /* the collector took its circle apart */
        PyErr_SetString(VerificationError, "the class of this message is gone");
        return NULL;
    }
    Message *self = (Message *)PyType_GenericAlloc((PyTypeObject *)plan->cls, 0);
    if (!self)
        return NULL;
    Py_INCREF(plan);
    self->plan = plan;
    Py_INCREF(memory);
    self->memory = memory;
    self->at = at;
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
    Elements *elements = PyObject_GC_New(Elements, Elements_Type);
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
    PyObject_GC_Track(elements);
    return (PyObject *)elements;
}

const UnionMember *union_member(const FieldPlan *field, uint8_t tag) {
    for (uint32_t i = 0; i < field->member_count; i++)
        if (field->members[i].tag == tag)
            return &field->members[i];
    return NULL;
}

PyObject *read_union(Plan *plan, const FieldPlan *field, Memory *memory, uint8_t tag, uint64_t at) {
    const UnionMember *member = union_member(field, tag);
    if (!member) /* NONE, or of a newer schema */
        Py_RETURN_NONE;
    if (member->is_string)
        return read_string(plan, memory, at);
    uint64_t target, size = member->plan && member->plan->is_struct ? member->plan->size : 4;
    if (follow(plan, memory, at, size, &target) < 0)
        return NULL;
    return (PyObject *)message_view(member->plan, memory, target);
}

static PyObject *read_table_union(Message *self, const FieldPlan *field, uint64_t at) {
    uint64_t tag_at;
    int found = find_field(self->plan, self->memory, self->at, field->id - 1u, 1, &tag_at);
    if (found < 0)
        return NULL;
    uint8_t tag = found ? load_u8(self->memory->bytes + tag_at) : 0;
    return read_union(self->plan, field, self->memory, tag, at);
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
        return (PyObject *)message_view(field->sub, self->memory, at);
    case TABLE:
        if (follow(self->plan, self->memory, at, 4, &target) < 0)
            return NULL;
        return (PyObject *)message_view(field->sub, self->memory, target);
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
        Message *each = message_view(field->sub, self->memory, at + (uint64_t)i * field->size);
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
    PyObject **place = &self->values[field - self->plan->fields], *kept = *place, *shown;
    if (!kept && (field->kind < SCALARS || field->absent == Py_None))
        return read_absent(field);
    Py_XINCREF(kept);
    if (!kept)
        shown = empty_vector(field); /* kept: the user may append to it */
    else if (field->kind == SCALARS) /* whatever buffer it was set to, it reads as an array */
        shown = PyObject_CallFunctionObjArgs(field->array, kept, NULL);
    else
        return kept;
    if (shown && shown != kept && *place == kept) { /* unless somebody set it meanwhile */
        Py_INCREF(shown);
        *place = shown;
        Py_XDECREF(kept);
    }
    Py_XDECREF(kept);
    return shown;
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
