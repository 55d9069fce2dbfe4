/* Writing: values to a FlatBuffer, from low addresses to high. Without a target it only measures. */
#include "write.h"

#define FEW_FIELDS 32

typedef struct {
    PyObject *value; /* owned: others may set the field meanwhile; NULL: nothing was set, or it is at `from` */
    uint64_t from;   /* where the field lies in a buffer and is written from without an object; 0: nowhere */
    uint64_t bits;
    uint32_t offset, tag_offset; /* in the table; 0: not there */
} Place;

static int write_table(Target *target, Message *message, uint64_t *at);

/* Vectors -------------------------------------------------------------------------------------------------- */

static int write_viewed_structs(Target *target, const Elements *elements, uint64_t *at) {
    const FieldPlan *field = elements->field;
    if (!within(elements->memory, elements->at, (uint64_t)elements->count * field->size)) {
        refuse_bytes(elements->plan, "a vector reaches beyond the buffer");
        return -1;
    }
    return write_bytes(target, elements->memory->bytes + elements->at, elements->count, field->size, field->align, at);
}

static int write_structs(Target *target, const FieldPlan *field, PyObject *list, uint64_t *at) {
    if (PyObject_TypeCheck(list, Elements_Type))
        return write_viewed_structs(target, (const Elements *)list, at);
    Py_ssize_t count = PyList_Size(list);
    if (write_bytes(target, NULL, (uint64_t)count, field->size, field->align, at) < 0)
        return -1;
    for (Py_ssize_t i = 0; i < count; i++) {
        uint8_t *to = target->out ? target->out + *at + 4 + (uint64_t)i * field->size : NULL;
        if (copy_struct(to, (Message *)PyList_GetItem(list, i)) < 0)
            return -1;
    }
    return 0;
}

static int write_lone_struct(Target *target, const Message *value, uint64_t *at) {
    if (claim(target, value->plan->align, 0, value->plan->size, at) < 0)
        return -1;
    return copy_struct(target->out ? target->out + *at : NULL, value);
}

/* What a union, or an element of a vector of offsets, points to. */
static int write_target(Target *target, const Plan *plan, const FieldPlan *field, PyObject *value, uint64_t *at) {
    if (PyUnicode_Check(value))
        return write_string(target, plan, field, value, at);
    Message *message = (Message *)value;
    return message->plan->is_struct ? write_lone_struct(target, message, at) : write_table(target, message, at);
}

static int write_element(Target *target, const Plan *plan, const FieldPlan *field, PyObject *value, uint64_t place) {
    uint64_t element = place; /* of None, the offset is 0 and the tag NONE */
    if ((field->kind == STRINGS && spend(plan, &target->budget, cost_of(value)) < 0) ||
        (value != Py_None && write_target(target, plan, field, value, &element) < 0))
        return -1;
    if (target->out)
        put_u32(target, place, (uint32_t)(element - place));
    return 0;
}

/* Of a checked list or of elements in a buffer, which are read one at a time: together they may be huge. */
static int write_offsets(Target *target, const Plan *plan, const FieldPlan *field, PyObject *list, uint64_t *at) {
    Py_ssize_t count = PySequence_Size(list);
    if (count < 0 || write_bytes(target, NULL, (uint64_t)count, 4, 4, at) < 0)
        return -1;
    int result = 0;
    for (Py_ssize_t i = 0; result == 0 && i < count; i++) {
        PyObject *value = PySequence_GetItem(list, i);
        result = value ? write_element(target, plan, field, value, *at + 4 + 4 * (uint64_t)i) : -1;
        Py_XDECREF(value);
    }
    return result;
}

static int write_tags(Target *target, const FieldPlan *field, PyObject *list, uint64_t *at) {
    Py_ssize_t count = PyList_Size(list);
    if (write_bytes(target, NULL, (uint64_t)count, 1, 1, at) < 0)
        return -1;
    for (Py_ssize_t i = 0; target->out && i < count; i++) {
        const UnionMember *member = union_member_for(field, PyList_GetItem(list, i));
        target->out[*at + 4 + (uint64_t)i] = member ? member->tag : 0;
    }
    return 0;
}

/* The user may have changed a list since it was checked: what is checked here is what is written. Elements in a buffer may
 * change at any time and are checked one by one; only unions must be looked at once, for their tags and their values. */
static PyObject *checked_list(Target *target, const Plan *plan, const FieldPlan *field, PyObject *value) {
    if (!PyObject_TypeCheck(value, Elements_Type))
        return convert_value(plan, field, value);
    if (field->kind != UNIONS) {
        Py_INCREF(value);
        return value;
    }
    PyObject *list = PyList_New(0);
    Py_ssize_t count = PySequence_Size(value);
    for (Py_ssize_t i = 0; list && i < count; i++) {
        PyObject *element = PySequence_GetItem(value, i);
        int failed = !element || spend(plan, &target->budget, cost_of(element)) || PyList_Append(list, element);
        Py_XDECREF(element);
        if (failed)
            Py_CLEAR(list);
    }
    return list;
}

static int write_vector(Target *target, const Plan *plan, const FieldPlan *field, PyObject *list, uint64_t *at) {
    return field->kind == STRUCTS ? write_structs(target, field, list, at)
                                  : write_offsets(target, plan, field, list, at);
}

/* Tables ------------------------------------------------------------------------------------------------------ */

static int refuse_absent(const Message *message, const FieldPlan *field) {
    if (message->values)
        refuse_value(message->plan, field, Py_None, "it is required");
    else
        PyErr_Format(VerificationError, "not a %U: field %U is required and absent", message->plan->name, field->name);
    return -1;
}

static Py_ssize_t viewed_count(const Message *view, const FieldPlan *field, const Place *place) {
    uint64_t first;
    uint32_t count;
    return vector_at(view->plan, view->memory, place->from, field->size, &first, &count) < 0 ? -1 : (Py_ssize_t)count;
}

static int decide(const Target *target, const Message *message, const FieldPlan *field, Place *place, bool *there) {
    const Plan *plan = message->plan;
    PyObject *value = place->value;
    *there = value != NULL || place->from;
    if (field->kind == SCALAR) {
        if (!*there)
            place->bits = field->default_bits;
        if (value && scalar_bits(plan, field, value, &place->bits) < 0)
            return -1;
        if (target->reserve)
            *there |= !(field->flags & OPTIONAL);
        else if (!(field->flags & OPTIONAL))
            *there &= place->bits != field->default_bits;
    } else if (field->kind == STRUCT && target->reserve) {
        *there = true;
    } else if (*there && field->kind >= SCALARS && !target->reserve && !(field->flags & REQUIRED) &&
               field->absent != Py_None) {
        /* An absent one reads as empty, so an empty one need not be there. */
        Py_ssize_t count = value ? PyObject_Size(value) : viewed_count(message, field, place);
        if (count < 0)
            return -1;
        *there = count > 0;
    } else if (!*there && field->flags & REQUIRED && !target->incomplete) {
        return refuse_absent(message, field);
    }
    return 0;
}

/* Lays the fields that are there out behind one another; the table's size and alignment. */
static int lay_out(const Target *target, const Message *message, Place *places, uint32_t *size, uint32_t *alignment) {
    const Plan *plan = message->plan;
    uint64_t end = 0; /* a hostile schema may have many large structs */
    *alignment = 4;
    for (uint32_t i = 0; i < plan->count; i++) {
        uint32_t index = plan->order[i];
        const FieldPlan *field = &plan->fields[index];
        Place *place = &places[index];
        bool there, in_line = field->kind == SCALAR || field->kind == STRUCT;
        if (decide(target, message, field, place, &there) < 0)
            return -1;
        if (!there)
            continue;
        uint32_t width = in_line ? field->size : 4, align = in_line ? field->align : 4;
        end = align_up(end, align);
        place->offset = (uint32_t)(4 + end);
        end += width;
        if (field->kind == UNIONS) {
            place->tag_offset = (uint32_t)(4 + end);
            end += 4;
        }
        if (align > *alignment)
            *alignment = align;
    }
    for (uint32_t i = 0; i < plan->count; i++)
        if (plan->fields[i].kind == UNION && places[i].offset)
            places[i].tag_offset = (uint32_t)(4 + end++);
    *size = (uint32_t)(4 + end);
    if (4 + end <= UINT16_MAX)
        return 0;
    PyErr_Format(VerificationError, "a %U has more bytes in line than a table may have", plan->name);
    return -1;
}

static void build_vtable(const Plan *plan, const Place *places, uint32_t size, uint32_t bytes, uint8_t *to) {
    uint16_t head[2] = {(uint16_t)bytes, (uint16_t)size};
    memset(to, 0, bytes);
    memcpy(to, head, sizeof head);
    for (uint32_t i = 0; i < plan->count; i++) {
        uint16_t offset = (uint16_t)places[i].offset, tag_offset = (uint16_t)places[i].tag_offset;
        if (offset)
            memcpy(to + 4 + 2u * plan->fields[i].id, &offset, 2);
        if (tag_offset)
            memcpy(to + 2 + 2u * plan->fields[i].id, &tag_offset, 2);
    }
}

/* An equal vtable that was written before, or a new one. What was written is remembered beside the target, so that
 * measuring shares the same ones. */
static int write_vtable(Target *target, const Plan *plan, const Place *places, uint32_t size, uint64_t *at) {
    uint32_t slots = 0;
    for (uint32_t i = 0; i < plan->count; i++)
        if (places[i].offset && plan->fields[i].id + 1u > slots)
            slots = plan->fields[i].id + 1u;
    uint32_t bytes = 4 + 2 * slots;
    bool remember = target->vtable_count < MAX_VTABLES && bytes <= sizeof target->seen - target->seen_bytes;
    uint8_t *built = target->seen + target->seen_bytes;
    if (remember) {
        build_vtable(plan, places, size, bytes, built);
        const uint8_t *earlier = target->seen;
        for (uint32_t i = 0; i < target->vtable_count; earlier += load_u16(earlier), i++)
            if (memcmp(earlier, built, bytes) == 0) { /* the length is in the first two bytes */
                *at = target->vtables[i];
                return 0;
            }
    }
    if (claim(target, 2, 0, bytes, at) < 0)
        return -1;
    if (target->out)
        build_vtable(plan, places, size, bytes, target->out + *at);
    if (remember) {
        target->vtables[target->vtable_count++] = *at;
        target->seen_bytes += bytes;
    }
    return 0;
}

static int write_in_line(Target *target, const Message *message, const Place *places, uint64_t table) {
    const Plan *plan = message->plan;
    for (uint32_t i = 0; i < plan->count; i++) {
        const FieldPlan *field = &plan->fields[i];
        if (!places[i].offset)
            continue;
        uint8_t *to = target->out + table + places[i].offset;
        if (field->kind == SCALAR)
            scalar_store(field->base, to, places[i].bits);
        else if (field->kind == STRUCT && places[i].from)
            memcpy(to, message->memory->bytes + places[i].from, field->size); /* take_viewed() saw its bounds */
        else if (field->kind == STRUCT && !places[i].value)
            memset(to, 0, field->size);
        else if (field->kind == STRUCT && copy_struct(to, (Message *)places[i].value) < 0)
            return -1;
        else if (field->kind == UNION) {
            const UnionMember *member = union_member_for(field, places[i].value);
            target->out[table + places[i].tag_offset] = member ? member->tag : 0;
        }
    }
    return 0;
}

static int write_list(Target *target, const Plan *plan, const FieldPlan *field, const Place *place, uint64_t table) {
    uint64_t at, slot = table + place->offset;
    PyObject *list = checked_list(target, plan, field, place->value);
    int result = list ? write_vector(target, plan, field, list, &at) : -1;
    if (result == 0 && target->out)
        put_u32(target, slot, (uint32_t)(at - slot));
    slot = table + place->tag_offset;
    if (result == 0 && field->kind == UNIONS)
        result = write_tags(target, field, list, &at);
    if (result == 0 && field->kind == UNIONS && target->out)
        put_u32(target, slot, (uint32_t)(at - slot));
    Py_XDECREF(list);
    return result;
}

static int write_child(Target *target, const Message *message, const FieldPlan *field, const Place *place,
                       uint64_t table) {
    const Plan *plan = message->plan;
    uint64_t at, slot = table + place->offset;
    PyObject *value = place->value;
    int result;
    if (place->from)
        result = write_viewed(target, message, field, place->from, &at);
    else if (field->kind == STRING)
        result = write_string(target, plan, field, value, &at);
    else if (field->kind == TABLE)
        result = write_table(target, (Message *)value, &at);
    else if (field->kind == UNION)
        result = write_target(target, plan, field, value, &at);
    else if (field->kind == SCALARS)
        result = write_numbers(target, plan, field, value, &at);
    else
        return write_list(target, plan, field, place, table);
    if (result == 0 && target->out)
        put_u32(target, slot, (uint32_t)(at - slot));
    return result;
}

static int write_values(Target *target, const Message *message, Place *places, uint64_t *at) {
    const Plan *plan = message->plan;
    uint32_t size, alignment;
    uint64_t vtable;
    if (lay_out(target, message, places, &size, &alignment) < 0 || write_vtable(target, plan, places, size, &vtable) < 0 ||
        claim(target, alignment, 4, size, at) < 0)
        return -1;
    if (target->out) {
        memset(target->out + *at, 0, size);
        put_u32(target, *at, (uint32_t)(*at - vtable));
        if (write_in_line(target, message, places, *at) < 0)
            return -1;
    }
    for (uint32_t i = 0; i < plan->count; i++) {
        const FieldPlan *field = &plan->fields[i];
        if (places[i].offset && field->kind != SCALAR && field->kind != STRUCT &&
            write_child(target, message, field, &places[i], *at) < 0)
            return -1;
    }
    return 0;
}

/* A field of a table that lies in a buffer, if it is there; 0 or -1. Of what is nothing but bytes only its place. */
static int take_viewed(Target *target, Message *view, const FieldPlan *field, Place *place) {
    uint64_t at;
    bool in_line = field->kind == SCALAR || field->kind == STRUCT;
    int there = find_field(view->plan, view->memory, view->at, field->id, in_line ? field->size : 0, &at);
    if (there <= 0)
        return there;
    if (in_line || field->kind == STRING || field->kind == SCALARS) {
        place->from = at;
        if (field->kind == SCALAR)
            place->bits = scalar_load(field->base, view->memory->bytes + at);
        if (field->base == BOOL && field->kind == SCALAR)
            place->bits = place->bits != 0;
        return 0;
    }
    place->value = read_field(view, field);
    return place->value ? spend(view->plan, &target->budget, cost_of(place->value)) : -1;
}

/* What is written is what the fields were at one moment. */
static int take_values(Target *target, Message *message, Place *places) {
    for (uint32_t i = 0; i < message->plan->count; i++) {
        if (!message->values) {
            if (take_viewed(target, message, &message->plan->fields[i], &places[i]) < 0)
                return -1;
        } else {
            places[i].value = message->values[i];
            Py_XINCREF(places[i].value);
        }
        if (places[i].value == Py_None)
            Py_CLEAR(places[i].value);
    }
    return 0;
}

static int write_places(Target *target, Message *message, Place *places, uint64_t *at) {
    const uint32_t count = message->plan->count;
    const uint64_t outer = target->budget;
    memset(places, 0, count * sizeof *places);
    if (!message->values && outer == UNLIMITED)
        target->budget = budget_of(message->memory);
    int result = message->values ? 0 : spend(message->plan, &target->budget, 4);
    if (result == 0 && (result = take_values(target, message, places)) == 0)
        result = write_values(target, message, places, at);
    for (uint32_t i = 0; i < count; i++)
        Py_XDECREF(places[i].value);
    if (outer == UNLIMITED)
        target->budget = outer;
    return result;
}

static int write_table(Target *target, Message *message, uint64_t *at) {
    Place few[FEW_FIELDS], *places = few;
    if (++target->depth > MAX_DEPTH) {
        PyErr_Format(VerificationError, "messages nested deeper than %d", MAX_DEPTH);
        return -1;
    }
    if (message->plan->count > FEW_FIELDS && !(places = PyMem_Malloc(message->plan->count * sizeof *places))) {
        PyErr_NoMemory();
        return -1;
    }
    int result = write_places(target, message, places, at);
    if (places != few)
        PyMem_Free(places);
    target->depth--;
    return result;
}

/* A struct alone travels in a table whose one field, required, it is. */
static int write_boxed(Target *target, const Message *message, uint64_t *at) {
    const Plan *plan = message->plan;
    const uint16_t vtable[] = {6, (uint16_t)(4 + plan->size), 4};
    uint64_t vtable_at;
    if (4 + plan->size > UINT16_MAX) {
        PyErr_Format(VerificationError, "a %U has more bytes in line than a table may have", plan->name);
        return -1;
    }
    if (claim(target, 2, 0, sizeof vtable, &vtable_at) < 0 ||
        claim(target, plan->align < 4 ? 4 : plan->align, 4, 4 + plan->size, at) < 0)
        return -1;
    if (!target->out)
        return copy_struct(NULL, message);
    memcpy(target->out + vtable_at, vtable, sizeof vtable);
    put_u32(target, *at, (uint32_t)(*at - vtable_at));
    return copy_struct(target->out + *at + 4, message);
}

int write_message(Target *target, Message *message) {
    const Plan *plan = message->plan;
    uint64_t start, root;
    target->at = target->depth = target->vtable_count = target->seen_bytes = 0;
    if (claim(target, 1, 0, plan->identified ? 8 : 4, &start) < 0)
        return -1;
    if (plan->is_struct ? write_boxed(target, message, &root) < 0 : write_table(target, message, &root) < 0)
        return -1;
    if (target->out) {
        put_u32(target, 0, (uint32_t)root);
        if (plan->identified)
            memcpy(target->out + 4, plan->identifier, 4);
    }
    return 0;
}
