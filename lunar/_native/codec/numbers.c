/* Writing text and numbers, and taking the room for anything. */
#include "write.h"

#define COPY_WITHOUT_LOCK_BYTES ((Py_ssize_t)256 << 10)

int grown_too_large(void) {
    PyErr_SetString(VerificationError, "the message has 2 GiB or more, or it changed while it was written");
    return -1;
}

int claim(Target *target, uint64_t alignment, uint64_t skip, uint64_t size, uint64_t *at) {
    *at = align_up(target->at + skip, alignment) - skip;
    uint64_t limit = target->out && !target->draft ? target->size : MAX_BYTES - 1;
    if (size > limit || *at > limit - size)
        return grown_too_large();
    if (target->draft && *at + size > target->size)
        target->out = NULL;
    if (target->out)
        memset(target->out + target->at, 0, *at - target->at);
    target->at = *at + size;
    return 0;
}

int write_bytes(Target *target, const void *bytes, uint64_t count, uint32_t size, uint32_t alignment, uint64_t *at) {
    if (count > UINT32_MAX || claim(target, alignment < 4 ? 4 : alignment, 4, 4 + count * size, at) < 0)
        return PyErr_Occurred() ? -1 : grown_too_large();
    if (!target->out)
        return 0;
    put_u32(target, *at, (uint32_t)count);
    uint8_t *to = target->out + *at + 4;
    Py_ssize_t total = (Py_ssize_t)(count * size);
    if (!bytes) /* the user fills it */
        return 0;
    if (total < COPY_WITHOUT_LOCK_BYTES) {
        memcpy(to, bytes, (size_t)total);
    } else {
        Py_BEGIN_ALLOW_THREADS
        memcpy(to, bytes, (size_t)total);
        Py_END_ALLOW_THREADS
    }
    return 0;
}

static int write_text(Target *target, const void *text, uint64_t length, uint64_t *at) {
    uint64_t end;
    if (write_bytes(target, text, length, 1, 4, at) < 0 || claim(target, 1, 0, 1, &end) < 0)
        return -1;
    if (target->out)
        target->out[end] = 0;
    return 0;
}

int write_string(Target *target, const Plan *plan, const FieldPlan *field, PyObject *value, uint64_t *at) {
    Py_ssize_t length;
    const char *text = PyUnicode_Check(value) ? PyUnicode_AsUTF8AndSize(value, &length) : NULL;
    if (!text) {
        if (!PyErr_Occurred())
            refuse_value(plan, field, value, NULL);
        return -1;
    }
    return write_text(target, text, (uint64_t)length, at);
}

int write_numbers(Target *target, const Plan *plan, const FieldPlan *field, PyObject *value, uint64_t *at) {
    if (target->reserve && PyLong_Check(value)) {
        unsigned long long count = PyLong_AsUnsignedLongLong(value);
        if (count == (unsigned long long)-1 && PyErr_Occurred())
            return -1;
        return write_bytes(target, NULL, count, field->size, field->align, at);
    }
    Py_buffer view;
    if (PyObject_GetBuffer(value, &view, PyBUF_C_CONTIGUOUS) < 0)
        return -1;
    uint64_t count = (uint64_t)view.len / field->size;
    int result = spend(plan, &target->budget, 4 + (uint64_t)view.len);
    if (result < 0) {
        PyBuffer_Release(&view);
        return -1;
    }
    result = -1; /* it was checked when it was set, but a bytearray may have grown since */
    if ((field->exactly && count != field->exactly) || (field->multiple > 1 && count % field->multiple))
        refuse_value(plan, field, value, NULL);
    else
        result = write_bytes(target, view.buf, count, field->size, field->align, at);
    PyBuffer_Release(&view);
    return result;
}

/* What is looked at is what was written: the bytes may change at any time. */
static int write_viewed_text(Target *target, const Plan *plan, const uint8_t *text, uint32_t length, uint64_t *at) {
    if (write_text(target, text, length, at) < 0)
        return -1;
    if (is_utf8(target->out ? target->out + *at + 4 : text, length))
        return 0;
    refuse_bytes(plan, "a string is not UTF-8");
    return -1;
}

int write_viewed(Target *target, const Message *view, const FieldPlan *field, uint64_t from, uint64_t *at) {
    const Plan *plan = view->plan;
    bool is_text = field->kind == STRING;
    uint32_t size = is_text ? 1 : field->size, count;
    uint64_t first;
    if (vector_at(plan, view->memory, from, size, &first, &count) < 0 ||
        spend(plan, &target->budget, 4 + (uint64_t)count * size) < 0)
        return -1;
    const uint8_t *bytes = view->memory->bytes + first;
    if (is_text)
        return write_viewed_text(target, plan, bytes, count, at);
    if (!(field->exactly && count != field->exactly) && !(field->multiple > 1 && count % field->multiple))
        return write_bytes(target, bytes, count, size, field->align, at);
    refuse_bytes(plan, "a vector has another number of elements than its shape allows");
    return -1;
}
