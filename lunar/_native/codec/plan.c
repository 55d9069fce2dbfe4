/* Plan: how one table or struct lies in memory. Made empty and filled once, so that plans may mention each other. */
#include <stdlib.h>

#include "codec.h"

PyTypeObject *Plan_Type;

static int plan_init(Plan *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"name", "is_struct", "size", "align", "identifier", NULL};
    PyObject *name;
    int is_struct;
    unsigned long long size;
    unsigned int align;
    const char *identifier;
    Py_ssize_t identifier_bytes;
    if (self->name) {
        PyErr_SetString(PyExc_RuntimeError, "a plan is made once");
        return -1;
    }
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "UpKIz#", names, &name, &is_struct, &size, &align, &identifier,
                                     &identifier_bytes))
        return -1;
    if (!align || align > 64 || align & (align - 1) || (identifier && identifier_bytes != 4)) {
        PyErr_SetString(PyExc_ValueError, "align must be a power of two, an identifier four bytes");
        return -1;
    }
    if (size >= MAX_BYTES || (is_struct && !size)) {
        PyErr_Format(PyExc_ValueError, "%U: a struct has at least a byte, and less than 2 GiB", name);
        return -1;
    }
    Py_INCREF(name);
    self->name = name;
    self->is_struct = is_struct;
    self->size = (uint32_t)size;
    self->align = align;
    self->identified = identifier != NULL;
    if (identifier)
        memcpy(self->identifier, identifier, 4);
    return 0;
}

static int parse_members(FieldPlan *field, PyObject *members) {
    Py_ssize_t count = PyTuple_Size(members);
    if (!(field->members = PyMem_Calloc((size_t)count + 1, sizeof *field->members))) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        UnionMember *member = &field->members[i];
        PyObject *plan;
        if (!PyArg_ParseTuple(PyTuple_GetItem(members, i), "bO", &member->tag, &plan))
            return -1;
        member->is_string = plan == Py_None;
        bool is_plan = PyObject_TypeCheck(plan, Plan_Type) && ((Plan *)plan)->name;
        if (!member->tag || (!member->is_string && !is_plan)) {
            PyErr_SetString(PyExc_TypeError, "a union's member must have a tag, and be a Plan or None");
            return -1;
        }
        if (is_plan) {
            Py_INCREF(plan);
            member->plan = (Plan *)plan;
        }
        field->member_count++;
    }
    return 0;
}

static int parse_shape(FieldPlan *field, PyObject *shape) {
    Py_ssize_t axes = PyTuple_Size(shape);
    if (!(field->shape = PyMem_Calloc((size_t)axes + 1, sizeof *field->shape))) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t i = 0; i < axes; i++) {
        unsigned long length = PyLong_AsUnsignedLong(PyTuple_GetItem(shape, i));
        if (PyErr_Occurred())
            return -1;
        field->shape[field->axes++] = (uint32_t)length;
    }
    return 0;
}

static PyObject *keep(PyObject *object) {
    if (object == Py_None)
        return NULL;
    Py_INCREF(object);
    return object;
}

/* What reading and writing rely on. Schemas may come from strangers, so it is not left to who compiled them. */
static bool makes_sense(const Plan *self, const FieldPlan *field, unsigned int id, const Plan *sub, bool has_array) {
    bool numbers = field->kind == SCALAR || field->kind == SCALARS;
    bool structs = field->kind == STRUCT || field->kind == STRUCTS;
    bool tables = field->kind == TABLE || field->kind == TABLES;
    if (field->kind > UNIONS || field->base > FLOAT64 || !field->align || field->align & (field->align - 1))
        return false;
    if ((structs || tables) != (sub != NULL) || (sub && (!sub->name || sub->is_struct != structs)))
        return false;
    if (field->size != (numbers ? scalar_sizes[field->base] : structs ? sub->size : 4) || field->align > 64 ||
        has_array != (field->kind == SCALARS))
        return false;
    if (!self->is_struct) /* beyond 32764 a vtable cannot say its own length; a tag lies before its union */
        return !field->length && id < 32765 && (id || (field->kind != UNION && field->kind != UNIONS));
    uint64_t bytes = field->size * (uint64_t)(field->length ? field->length : 1);
    return (numbers || structs) && (field->kind >= SCALARS) == (field->length > 0) &&
           (field->kind != SCALARS || field->exactly == field->length) && field->offset <= self->size &&
           bytes <= self->size - field->offset;
}

static int parse_field(Plan *self, FieldPlan *field, PyObject *description) {
    PyObject *name, *shape, *absent, *sub, *members, *enum_class, *enum_members, *array, *expected;
    unsigned int id;
    unsigned long long default_bits;
    if (!PyTuple_Check(description)) {
        PyErr_SetString(PyExc_TypeError, "a field is described by a tuple");
        return -1;
    }
    if (!PyArg_ParseTuple(description, "UbbbIIIIIIIO!KOOO!OOOU", &name, &field->kind, &field->base, &field->flags, &id,
                          &field->offset, &field->size, &field->align, &field->length, &field->exactly,
                          &field->multiple, &PyTuple_Type, &shape, &default_bits, &absent, &sub, &PyTuple_Type, &members, &enum_class,
                          &enum_members, &array, &expected))
        return -1;
    Plan *sub_plan = PyObject_TypeCheck(sub, Plan_Type) ? (Plan *)sub : NULL;
    if (!makes_sense(self, field, id, sub_plan, array != Py_None)) {
        PyErr_Format(PyExc_ValueError, "the plan of field %U makes no sense", name);
        return -1;
    }
    field->id = (uint16_t)id;
    field->default_bits = default_bits;
    Py_INCREF(name);
    field->name = name;
    PyUnicode_InternInPlace(&field->name);
    Py_INCREF(absent);
    field->absent = absent;
    Py_INCREF(expected);
    field->expected = expected;
    Py_XINCREF(sub_plan);
    field->sub = sub_plan;
    field->enum_class = keep(enum_class);
    field->enum_members = keep(enum_members);
    field->array = keep(array);
    return parse_shape(field, shape) < 0 ? -1 : parse_members(field, members);
}

static uint32_t inline_bytes(const FieldPlan *field) {
    return field->kind == SCALAR || field->kind == STRUCT ? field->align : 4;
}

static bool comes_after(const FieldPlan *fields, uint32_t first, uint32_t second) {
    uint32_t a = inline_bytes(&fields[first]), b = inline_bytes(&fields[second]);
    return a != b ? a < b : first > second;
}

static void sort_fields(Plan *self) {
    for (uint32_t i = 0; i < self->count; i++) { /* few, and once */
        uint32_t place = i;
        for (; place > 0 && comes_after(self->fields, self->order[place - 1], i); place--)
            self->order[place] = self->order[place - 1];
        self->order[place] = i;
    }
}

static void drop_fields(Plan *self) {
    for (uint32_t i = 0; i < self->count; i++) {
        FieldPlan *field = &self->fields[i];
        for (uint32_t j = 0; j < field->member_count; j++)
            Py_XDECREF(field->members[j].plan);
        PyMem_Free(field->members);
        PyMem_Free(field->shape);
        Py_XDECREF(field->name);
        Py_XDECREF(field->absent);
        Py_XDECREF(field->expected);
        Py_XDECREF(field->sub);
        Py_XDECREF(field->enum_class);
        Py_XDECREF(field->enum_members);
        Py_XDECREF(field->array);
    }
    self->count = 0;
    PyMem_Free(self->fields);
    PyMem_Free(self->order);
    self->fields = NULL;
    self->order = NULL;
    Py_CLEAR(self->index);
}

static int fill_fields(Plan *self, PyObject *descriptions) {
    Py_ssize_t count = PyTuple_Size(descriptions);
    self->fields = PyMem_Calloc((size_t)count + 1, sizeof *self->fields);
    self->order = PyMem_Calloc((size_t)count + 1, sizeof *self->order);
    self->index = PyDict_New();
    if (!self->fields || !self->order || !self->index) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        FieldPlan *field = &self->fields[i];
        self->count++;
        if (parse_field(self, field, PyTuple_GetItem(descriptions, i)) < 0)
            return -1;
        PyObject *place = PyLong_FromSsize_t(i);
        int failed = !place || PyDict_SetItem(self->index, field->name, place);
        Py_XDECREF(place);
        if (failed)
            return -1;
        if (field->id + 1u > self->slots)
            self->slots = field->id + 1u;
    }
    return 0;
}

static PyObject *plan_fill(Plan *self, PyObject *args) {
    PyObject *cls, *descriptions;
    if (!PyArg_ParseTuple(args, "OO!", &cls, &PyTuple_Type, &descriptions))
        return NULL;
    if (self->fields || !self->name) {
        PyErr_SetString(PyExc_RuntimeError, "a plan is filled once");
        return NULL;
    }
    if (!PyType_Check(cls) || !PyType_IsSubtype((PyTypeObject *)cls, Message_Type)) {
        PyErr_SetString(PyExc_TypeError, "a plan needs a message class");
        return NULL;
    }
    if (fill_fields(self, descriptions) < 0) {
        drop_fields(self);
        return NULL;
    }
    sort_fields(self);
    Py_INCREF(cls);
    self->cls = cls;
    Py_RETURN_NONE;
}

static int plan_traverse(Plan *self, visitproc visit, void *arg) {
    Py_VISIT(self->cls);
    Py_VISIT(self->index);
    for (uint32_t i = 0; i < self->count; i++) {
        FieldPlan *field = &self->fields[i];
        Py_VISIT(field->absent);
        Py_VISIT((PyObject *)field->sub);
        Py_VISIT(field->enum_class);
        Py_VISIT(field->enum_members);
        Py_VISIT(field->array);
        for (uint32_t j = 0; j < field->member_count; j++)
            Py_VISIT((PyObject *)field->members[j].plan);
    }
    Py_VISIT((PyObject *)Py_TYPE(self));
    return 0;
}

static void plan_dealloc(Plan *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    drop_fields(self);
    Py_XDECREF(self->cls);
    Py_XDECREF(self->name);
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

/* A message holds its plan, and a plan the class of its messages and the plans of what they hold, its own among them:
 * break the circles there. The rest stays, for a message may still be there that is taken apart after its plan. */
static int plan_clear(Plan *self) {
    Py_CLEAR(self->cls);
    for (uint32_t i = 0; i < self->count; i++) {
        FieldPlan *field = &self->fields[i];
        Py_CLEAR(field->sub);
        for (uint32_t j = 0; j < field->member_count; j++)
            Py_CLEAR(field->members[j].plan);
    }
    return 0;
}

static PyMethodDef methods[] = {
    {"fill", (PyCFunction)plan_fill, METH_VARARGS, "Take the message class and the descriptions of its fields."},
    {NULL}};
static PyMemberDef members[] = {{"name", T_OBJECT, offsetof(Plan, name), READONLY, "Full name of the type."},
                                {"cls", T_OBJECT, offsetof(Plan, cls), READONLY, "Its message class."},
                                {NULL}};
static PyType_Slot slots[] = {{Py_tp_init, plan_init},         {Py_tp_new, PyType_GenericNew},
                              {Py_tp_dealloc, plan_dealloc},   {Py_tp_traverse, plan_traverse},
                              {Py_tp_clear, plan_clear},       {Py_tp_methods, methods},
                              {Py_tp_members, members},        {0, NULL}};
static PyType_Spec spec = {.name = "lunar._native._codec.Plan",
                           .basicsize = sizeof(Plan),
                           .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
                           .slots = slots};

int plan_register(PyObject *module) { return codec_register_type(module, &spec, &Plan_Type); }
