/* Message: an instance of a generated class, and Field: the descriptor through which its fields are read and set. */
#include "codec.h"

PyTypeObject *Message_Type, *Field_Type;
static PyObject *plan_attribute;

/* Values ------------------------------------------------------------------------------------------------------ */

static int set_value(Message *self, const FieldPlan *field, PyObject *value) {
    PyObject *kept = convert_value(self->plan, field, value);
    if (!kept)
        return -1;
    PyObject **place = &self->values[field - self->plan->fields], *old = *place;
    if (kept == Py_None) {
        Py_DECREF(kept);
        kept = NULL;
    }
    *place = kept;
    Py_XDECREF(old);
    return 0;
}

/* Asked again after a value's own code ran: the loan may be over. */
bool still_writable(const Message *self, const FieldPlan *field, PyObject *value) {
    if (self->memory->writable)
        return true;
    refuse_value(self->plan, field, value, "a received message is read-only; change a copy() of it");
    return false;
}

/* A vector of scalars can be set to as many others. */
static int set_numbers_in_place(Message *self, const FieldPlan *field, PyObject *value) {
    uint64_t at, first;
    uint32_t count;
    /* Both of these may run the value's own code, so only then is looked where it goes. */
    PyObject *kept = value == Py_None ? refuse_value(self->plan, field, value, NULL)
                                      : convert_value(self->plan, field, value);
    Py_buffer view;
    if (!kept || PyObject_GetBuffer(kept, &view, PyBUF_C_CONTIGUOUS) < 0) {
        Py_XDECREF(kept);
        return -1;
    }
    int result = -1, found = still_writable(self, field, value)
                                 ? find_field(self->plan, self->memory, self->at, field->id, 4, &at)
                                 : -1;
    if (found == 0) {
        refuse_value(self->plan, field, value, "give it, or its length, when the loan is made");
    } else if (found > 0 && vector_at(self->plan, self->memory, at, field->size, &first, &count) == 0) {
        if ((uint64_t)view.len == (uint64_t)count * field->size) {
            memmove((uint8_t *)self->memory->bytes + first, view.buf, (size_t)view.len);
            result = 0;
        } else
            refuse_value(self->plan, field, value, "as many as the loan was made for");
    }
    PyBuffer_Release(&view);
    Py_DECREF(kept);
    return result;
}

/* In a loan: what has its place already can be set. */
static int set_in_place(Message *self, const FieldPlan *field, PyObject *value) {
    if (field->kind == SCALARS)
        return set_numbers_in_place(self, field, value);
    uint64_t at, bits;
    bool in_line = field->kind == SCALAR || field->kind == STRUCT;
    int found = in_line ? find_field(self->plan, self->memory, self->at, field->id, field->size, &at) : 0;
    if (found < 0)
        return -1;
    if (!found) {
        refuse_value(self->plan, field, value, "it has no place in this loan; give it when the loan is made");
        return -1;
    }
    uint8_t *to = (uint8_t *)self->memory->bytes + at;
    PyObject *kept = value == Py_None ? refuse_value(self->plan, field, value, NULL)
                                      : convert_value(self->plan, field, value);
    int result = kept && still_writable(self, field, value) ? 0 : -1;
    if (result == 0 && field->kind == STRUCT)
        result = copy_struct(to, (Message *)kept);
    else if (result == 0 && (result = scalar_bits(self->plan, field, kept, &bits)) == 0)
        scalar_store(field->base, to, bits);
    Py_XDECREF(kept);
    return result;
}

int set_field(Message *self, const FieldPlan *field, PyObject *value) {
    if (self->values)
        return set_value(self, field, value);
    if (!still_writable(self, field, value))
        return -1;
    return self->plan->is_struct ? write_struct(self, field, value) : set_in_place(self, field, value);
}

/* Making ------------------------------------------------------------------------------------------------------ */

static Message *empty_message(PyTypeObject *type, Plan *plan) {
    Message *self = (Message *)PyType_GenericAlloc(type, 0);
    if (!self)
        return NULL;
    Py_INCREF(plan);
    self->plan = plan;
    if (plan->is_struct)
        self->memory = memory_new(plan->size);
    else if (!(self->values = PyMem_Calloc(plan->count + 1u, sizeof *self->values)))
        PyErr_NoMemory();
    if (self->memory || self->values)
        return self;
    Py_DECREF(self);
    return NULL;
}

/* Fields are mostly given in their order, and names in code are interned, as those in plans are. */
const FieldPlan *field_named(const Plan *plan, uint32_t guess, PyObject *name, PyObject *value) {
    if (guess < plan->count && plan->fields[guess].name == name)
        return &plan->fields[guess];
    PyObject *place = PyDict_GetItemWithError(plan->index, name);
    if (place)
        return &plan->fields[PyLong_AsSize_t(place)];
    if (PyErr_Occurred())
        return NULL;
    PyObject *names = PyDict_Keys(plan->index), *comma = PyUnicode_FromString(", ");
    PyObject *joined = names && comma ? PyUnicode_Join(comma, names) : NULL;
    PyObject *expected = joined ? PyUnicode_FromFormat("one of its fields: %U", joined) : NULL;
    PyObject *error =
        expected ? PyObject_CallFunctionObjArgs(FieldError, plan->name, name, expected, value, NULL) : NULL;
    if (error)
        PyErr_SetObject(FieldError, error);
    Py_XDECREF(names);
    Py_XDECREF(comma);
    Py_XDECREF(joined);
    Py_XDECREF(expected);
    Py_XDECREF(error);
    return NULL;
}

static PyObject *message_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    PyObject *found = PyObject_GetAttr((PyObject *)type, plan_attribute);
    if (!found || !PyObject_TypeCheck(found, Plan_Type) || !((Plan *)found)->cls) {
        if (found)
            PyErr_SetString(PyExc_TypeError, "only message classes that were made from a schema have instances");
        Py_XDECREF(found);
        return NULL;
    }
    Plan *plan = (Plan *)found;
    Message *self = empty_message(type, plan);
    Py_DECREF(plan);
    if (!self)
        return NULL;
    Py_ssize_t positional = PyTuple_Size(args), given = 0, at = 0;
    PyObject *name, *value;
    int failed = 0;
    if (positional > (Py_ssize_t)plan->count) {
        PyErr_Format(PyExc_TypeError, "%U has %u fields, %zd values were given", plan->name, plan->count, positional);
        failed = -1;
    }
    for (Py_ssize_t i = 0; !failed && i < positional; i++)
        failed = set_field(self, &plan->fields[i], PyTuple_GetItem(args, i));
    while (!failed && kwargs && PyDict_Next(kwargs, &at, &name, &value)) {
        const FieldPlan *field = field_named(plan, (uint32_t)(positional + given++), name, value);
        if (field && field - plan->fields < positional)
            PyErr_Format(PyExc_TypeError, "%U: %U was given twice", plan->name, name);
        failed = !field || PyErr_Occurred() ? -1 : set_field(self, field, value);
    }
    if (!failed)
        return (PyObject *)self;
    Py_DECREF(self);
    return NULL;
}

bool class_is_plain(const Plan *plan) {
    PyTypeObject *cls = (PyTypeObject *)plan->cls, *meta = Py_TYPE(cls);
    return PyType_GetSlot(cls, Py_tp_new) == (void *)message_new &&
           PyType_GetSlot(cls, Py_tp_init) == PyType_GetSlot(Message_Type, Py_tp_init) &&
           (meta == &PyType_Type || PyType_GetSlot(meta, Py_tp_call) == PyType_GetSlot(&PyType_Type, Py_tp_call));
}

Message *message_blank(Plan *plan) { return empty_message((PyTypeObject *)plan->cls, plan); }

static void drop_values(Message *self) {
    PyObject **values = self->values;
    self->values = NULL;
    if (!values)
        return;
    for (uint32_t i = 0; i < self->plan->count; i++)
        Py_XDECREF(values[i]);
    PyMem_Free(values);
}

static void message_dealloc(Message *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (self->plan)
        drop_values(self);
    Py_CLEAR(self->memory);
    Py_CLEAR(self->plan);
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

static int message_traverse(Message *self, visitproc visit, void *arg) {
    for (uint32_t i = 0; self->values && i < self->plan->count; i++)
        Py_VISIT(self->values[i]);
    Py_VISIT((PyObject *)self->memory);
    Py_VISIT((PyObject *)self->plan);
    Py_VISIT((PyObject *)Py_TYPE(self));
    return 0;
}

static int message_clear(Message *self) {
    for (uint32_t i = 0; self->values && i < self->plan->count; i++)
        Py_CLEAR(self->values[i]);
    return 0;
}

/* Copying ----------------------------------------------------------------------------------------------------- */

static int thaw_all(PyObject *value);

static int thaw_deep(Message *self) {
    if (self->plan->is_struct)
        return 0;
    if (!self->values && message_thaw(self) < 0)
        return -1;
    for (uint32_t i = 0; i < self->plan->count; i++)
        if (self->values[i] && thaw_all(self->values[i]) < 0)
            return -1;
    return 0;
}

static int thaw_all(PyObject *value) {
    if (PyObject_TypeCheck(value, Message_Type))
        return thaw_deep((Message *)value);
    if (!PyList_Check(value))
        return 0;
    for (Py_ssize_t i = 0; i < PyList_Size(value); i++)
        if (thaw_all(PyList_GetItem(value, i)) < 0)
            return -1;
    return 0;
}

static Message *copied_struct(Message *self) {
    if (!within(self->memory, self->at, self->plan->size))
        return (Message *)refuse_bytes(self->plan, "a struct reaches beyond the buffer");
    Memory *memory = memory_copy(self->memory->bytes + self->at, self->plan->size);
    Message *copy = memory ? message_view(self->plan, memory, 0) : NULL;
    Py_XDECREF(memory);
    return copy;
}

/* By way of its bytes: one memory, which the copy's arrays and structs are views of. */
Message *message_copied(Message *self, uint64_t *budget) {
    if (self->plan->is_struct)
        return copied_struct(self);
    Target target = {.budget = *budget, .incomplete = true};
    if (write_message(&target, self) < 0)
        return NULL;
    uint64_t left = target.budget;
    Memory *memory = memory_new(target.at);
    if (!memory)
        return NULL;
    target.out = memory->owned;
    target.size = memory->size;
    target.budget = *budget;
    Message *copy = NULL;
    if (write_message(&target, self) == 0)
        copy = message_view(self->plan, memory, load_u32(memory->bytes));
    Py_DECREF(memory);
    if (copy && thaw_deep(copy) < 0)
        Py_CLEAR(copy);
    *budget = left;
    return copy;
}

static PyObject *message_copy(Message *self, PyObject *Py_UNUSED(ignored)) {
    uint64_t budget = UNLIMITED;
    return (PyObject *)message_copied(self, &budget);
}

static PyObject *message_deepcopy(Message *self, PyObject *Py_UNUSED(memo)) { return message_copy(self, NULL); }

static PyMethodDef message_methods[] = {
    {"copy", (PyCFunction)message_copy, METH_NOARGS,
     "A detached message, equal to this one: it can be changed, and keeps no sample alive."},
    {"__copy__", (PyCFunction)message_copy, METH_NOARGS, NULL},
    {"__deepcopy__", (PyCFunction)message_deepcopy, METH_O, NULL},
    {NULL}};
static PyType_Slot message_slots[] = {{Py_tp_new, message_new},
                                      {Py_tp_dealloc, message_dealloc},
                                      {Py_tp_traverse, message_traverse},
                                      {Py_tp_clear, message_clear},
                                      {Py_tp_richcompare, message_compare},
                                      {Py_tp_hash, PyObject_HashNotImplemented},
                                      {Py_tp_methods, message_methods},
                                      {0, NULL}};
static PyType_Spec message_spec = {.name = "lunar._native._codec.Message",
                                   .basicsize = sizeof(Message),
                                   .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
                                   .slots = message_slots};

/* Field ------------------------------------------------------------------------------------------------------- */

static PyObject *field_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(kwargs)) {
    PyObject *plan;
    unsigned int index;
    if (!PyArg_ParseTuple(args, "O!I", Plan_Type, &plan, &index))
        return NULL;
    Field *self = (Field *)PyType_GenericAlloc(type, 0);
    if (self) {
        Py_INCREF(plan);
        self->plan = (Plan *)plan;
        self->index = index;
    }
    return (PyObject *)self;
}

static const FieldPlan *field_of(const Field *self, PyObject *object) {
    if (PyObject_TypeCheck(object, Message_Type) && ((Message *)object)->plan == self->plan &&
        self->index < self->plan->count)
        return &self->plan->fields[self->index];
    PyErr_Format(PyExc_TypeError, "this is a field of %U", self->plan->name);
    return NULL;
}

static PyObject *field_get(Field *self, PyObject *object, PyObject *Py_UNUSED(type)) {
    if (!object || object == Py_None) {
        Py_INCREF(self);
        return (PyObject *)self;
    }
    const FieldPlan *field = field_of(self, object);
    return field ? read_field((Message *)object, field) : NULL;
}

static int field_set(Field *self, PyObject *object, PyObject *value) {
    const FieldPlan *field = field_of(self, object);
    if (!field)
        return -1;
    if (!value) {
        PyErr_SetString(PyExc_AttributeError, "a field of a message cannot be deleted");
        return -1;
    }
    return set_field((Message *)object, field, value);
}

static int field_traverse(Field *self, visitproc visit, void *arg) {
    Py_VISIT((PyObject *)self->plan);
    Py_VISIT((PyObject *)Py_TYPE(self));
    return 0;
}

static void field_dealloc(Field *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_XDECREF(self->plan);
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

static PyType_Slot field_slots[] = {{Py_tp_new, field_new},           {Py_tp_dealloc, field_dealloc},
                                    {Py_tp_traverse, field_traverse}, {Py_tp_descr_get, field_get},
                                    {Py_tp_descr_set, field_set},     {0, NULL}};
static PyType_Spec field_spec = {.name = "lunar._native._codec.Field",
                                 .basicsize = sizeof(Field),
                                 .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
                                 .slots = field_slots};

int message_register(PyObject *module) {
    plan_attribute = PyUnicode_InternFromString("__lunar_plan__");
    return !plan_attribute || codec_register_type(module, &message_spec, &Message_Type) ||
           codec_register_type(module, &field_spec, &Field_Type);
}
