/* Structs: fields of fixed size at fixed places, set where they lie. */
#include "codec.h"

/* A struct's bytes, wherever they lie. */
int copy_struct(uint8_t *to, const Message *from) {
    if (!within(from->memory, from->at, from->plan->size)) {
        refuse_bytes(from->plan, "a struct reaches beyond the buffer");
        return -1;
    }
    if (to)
        memmove(to, from->memory->bytes + from->at, from->plan->size); /* perhaps from itself to itself */
    return 0;
}

/* Where a field is to be stored now, after the code of its value has run; NULL and an exception: nowhere. */
static uint8_t *place_of(const Message *self, const FieldPlan *field, PyObject *value) {
    return still_writable(self, field, value) ? (uint8_t *)self->memory->bytes + self->at + field->offset : NULL;
}

static int store_numbers(const Message *self, const FieldPlan *field, PyObject *kept) {
    Py_buffer view;
    if (PyObject_GetBuffer(kept, &view, PyBUF_C_CONTIGUOUS) < 0)
        return -1;
    uint8_t *to = NULL;
    if ((uint64_t)view.len != (uint64_t)field->length * field->size) /* a buffer may say something else each time */
        refuse_value(self->plan, field, kept, NULL);
    else if ((to = place_of(self, field, kept)))
        memmove(to, view.buf, (size_t)view.len);
    PyBuffer_Release(&view);
    return to ? 0 : -1;
}

/* By way of a copy, since they may come from where they go to. */
static int store_structs(const Message *self, const FieldPlan *field, PyObject *list) {
    uint8_t *to = place_of(self, field, list), *copy = to ? PyMem_Malloc((size_t)field->length * field->size) : NULL;
    if (!copy) {
        if (to)
            PyErr_NoMemory();
        return -1;
    }
    int result = 0;
    for (uint32_t i = 0; result == 0 && i < field->length; i++)
        result = copy_struct(copy + (uint64_t)i * field->size, (Message *)PyList_GetItem(list, i));
    if (result == 0)
        memcpy(to, copy, (size_t)field->length * field->size);
    PyMem_Free(copy);
    return result;
}

static int store_scalar(const Message *self, const FieldPlan *field, PyObject *kept) {
    uint64_t bits;
    uint8_t *to = scalar_bits(self->plan, field, kept, &bits) < 0 ? NULL : place_of(self, field, kept);
    if (to)
        scalar_store(field->base, to, bits);
    return to ? 0 : -1;
}

int write_struct(Message *self, const FieldPlan *field, PyObject *value) {
    PyObject *kept;
    uint8_t *to;
    if (!within(self->memory, self->at, self->plan->size)) {
        refuse_bytes(self->plan, "a struct reaches beyond the buffer");
        return -1;
    }
    kept = value == Py_None ? refuse_value(self->plan, field, value, NULL) : convert_value(self->plan, field, value);
    if (!kept)
        return -1;
    int result;
    if (field->kind == SCALARS)
        result = store_numbers(self, field, kept);
    else if (field->kind == STRUCTS)
        result = store_structs(self, field, kept);
    else if (field->kind == STRUCT)
        result = (to = place_of(self, field, value)) ? copy_struct(to, (Message *)kept) : -1;
    else
        result = store_scalar(self, field, kept);
    Py_DECREF(kept);
    return result;
}
