/* Comparing: by value, whatever state two messages are in. */
#include "codec.h"

static bool equal_numbers(const FieldPlan *field, const Py_buffer *left, const Py_buffer *right) {
    if (left->len != right->len)
        return false;
    if (field->base < FLOAT32)
        return memcmp(left->buf, right->buf, (size_t)left->len) == 0;
    if (left->len % (Py_ssize_t)field->size) /* an array of another type by now */
        return false;
    for (Py_ssize_t i = 0; i < left->len; i += field->size) {
        if (field->base == FLOAT32) {
            float pair[2];
            memcpy(&pair[0], (char *)left->buf + i, 4);
            memcpy(&pair[1], (char *)right->buf + i, 4);
            if (pair[0] != pair[1])
                return false;
        } else {
            double pair[2];
            memcpy(&pair[0], (char *)left->buf + i, 8);
            memcpy(&pair[1], (char *)right->buf + i, 8);
            if (pair[0] != pair[1])
                return false;
        }
    }
    return true;
}

static int equal_arrays(const Plan *plan, const FieldPlan *field, PyObject *left, PyObject *right, uint64_t *budget) {
    if (left == Py_None || right == Py_None)
        return left == right;
    Py_buffer views[2];
    if (PyObject_GetBuffer(left, &views[0], PyBUF_C_CONTIGUOUS) < 0)
        return -1;
    if (PyObject_GetBuffer(right, &views[1], PyBUF_C_CONTIGUOUS) < 0) {
        PyBuffer_Release(&views[0]);
        return -1;
    }
    int equal = spend(plan, budget, 4 + (uint64_t)views[0].len);
    if (equal == 0)
        equal = equal_numbers(field, &views[0], &views[1]);
    PyBuffer_Release(&views[0]);
    PyBuffer_Release(&views[1]);
    return equal;
}

static int equal_messages(Message *left, Message *right, uint64_t *budget);

/* Does it compare as we do, and not in a way of the user's? */
static bool compares_here(PyObject *value) {
    return PyObject_TypeCheck(value, Message_Type) &&
           PyType_GetSlot(Py_TYPE(value), Py_tp_richcompare) == (void *)message_compare;
}

/* Two values that are no vectors, or two elements. Other than by PyObject_RichCompareBool, NaN is not equal to itself: a
 * view would make another object of it. */
static int equal_values(PyObject *left, PyObject *right, uint64_t *budget) {
    if (compares_here(left) && compares_here(right) && ((Message *)left)->plan == ((Message *)right)->plan)
        return equal_messages((Message *)left, (Message *)right, budget);
    PyObject *result = PyObject_RichCompare(left, right, Py_EQ);
    int equal = result ? PyObject_IsTrue(result) : -1;
    Py_XDECREF(result);
    return equal;
}

static int spend_for(PyObject *sequence, PyObject *element, uint64_t *budget) {
    bool read = PyObject_TypeCheck(sequence, Elements_Type);
    return read ? spend(((Elements *)sequence)->plan, budget, cost_of(element)) : 0;
}

static PyObject *settled(PyObject *sequence) { /* elements never become fewer */
    if (!PyObject_TypeCheck(sequence, Elements_Type))
        return PySequence_List(sequence);
    Py_INCREF(sequence);
    return sequence;
}

int equal_lists(PyObject *left, PyObject *right, uint64_t *budget) {
    if (left == Py_None || right == Py_None)
        return left == right;
    PyObject *all[2] = {settled(left), NULL};
    int equal = all[0] && (all[1] = settled(right)) ? 1 : -1;
    if (equal > 0 && PySequence_Size(all[0]) != PySequence_Size(all[1]))
        equal = 0;
    Py_ssize_t count = equal > 0 ? PySequence_Size(all[0]) : 0;
    for (Py_ssize_t i = 0; equal > 0 && i < count; i++) {
        PyObject *first = PySequence_GetItem(all[0], i), *second = first ? PySequence_GetItem(all[1], i) : NULL;
        bool paid = second && spend_for(left, first, budget) == 0 && spend_for(right, second, budget) == 0;
        equal = paid ? equal_values(first, second, budget) : -1;
        Py_XDECREF(first);
        Py_XDECREF(second);
    }
    Py_XDECREF(all[0]);
    Py_XDECREF(all[1]);
    return equal;
}

static int equal_field(Message *left, Message *right, const FieldPlan *field, uint64_t *budget) {
    PyObject *first = read_field(left, field), *second = first ? read_field(right, field) : NULL;
    int equal = -1;
    if (second && spend(left->plan, budget, left->values ? 0 : cost_of(first)) == 0 &&
        spend(left->plan, budget, right->values ? 0 : cost_of(second)) == 0) {
        if (field->kind == SCALARS)
            equal = equal_arrays(left->plan, field, first, second, budget);
        else if (field->kind > SCALARS)
            equal = equal_lists(first, second, budget);
        else
            equal = equal_values(first, second, budget);
    }
    Py_XDECREF(first);
    Py_XDECREF(second);
    return equal;
}

/* What two messages may cost together: those that hold values end by themselves. */
static uint64_t budget_of_both(const Message *left, const Message *right) {
    uint64_t first = left->values ? UNLIMITED : budget_of(left->memory);
    uint64_t second = right->values ? UNLIMITED : budget_of(right->memory);
    return first == UNLIMITED ? second : second == UNLIMITED ? first : first + second;
}

static int equal_messages(Message *left, Message *right, uint64_t *budget) {
    const Plan *plan = left->plan;
    uint64_t own = *budget == UNLIMITED ? budget_of_both(left, right) : *budget;
    if (Py_EnterRecursiveCall(" while comparing messages"))
        return -1;
    int equal = spend(plan, &own, 4) < 0 ? -1 : 1;
    for (uint32_t i = 0; equal == 1 && i < plan->count; i++)
        equal = equal_field(left, right, &plan->fields[i], &own);
    Py_LeaveRecursiveCall();
    if (*budget != UNLIMITED)
        *budget = own;
    return equal;
}

PyObject *message_compare(PyObject *self, PyObject *other, int operation) {
    if ((operation != Py_EQ && operation != Py_NE) || !PyObject_TypeCheck(other, Message_Type) ||
        ((Message *)self)->plan != ((Message *)other)->plan) {
        Py_INCREF(Py_NotImplemented);
        return Py_NotImplemented;
    }
    uint64_t budget = UNLIMITED;
    int equal = equal_messages((Message *)self, (Message *)other, &budget);
    return equal < 0 ? NULL : PyBool_FromLong(equal == (operation == Py_EQ));
}
