/* Writing: values to a FlatBuffer, from low addresses to high. Without a target it only measures. */
#include "codec.h"

#define FEW_FIELDS 32
#define COPY_WITHOUT_LOCK_BYTES ((Py_ssize_t)256 << 10)

typedef struct {
    uint64_t bits;
    uint32_t offset, tag_offset; /* in the table; 0: not there */
} Place;

static int grown_too_large(void) {
    PyErr_SetString(VerificationError, "the message has 2 GiB or more, or it changed while it was written");
    return -1;
}

/* Takes `size` bytes so that what lies `skip` bytes into them is aligned; what is skipped over becomes zero. */
static int claim(Target *target, uint64_t alignment, uint64_t skip, uint64_t size, uint64_t *at) {
    *at = align_up(target->at + skip, alignment) - skip;
    uint64_t limit = target->out ? target->size : MAX_BYTES - 1;
    if (size > limit || *at > limit - size)
        return grown_too_large();
    if (target->out)
        memset(target->out + target->at, 0, *at - target->at);
    target->at = *at + size;
    return 0;
}

static void put_u32(Target *target, uint64_t at, uint32_t value) { memcpy(target->out + at, &value, 4); }

static int write_table(Target *target, Message *message, uint64_t *at);

/* Vectors and strings ---------------------------------------------------------------------------------------- */

static int write_bytes(Target *target, const void *bytes, uint64_t count, uint32_t size, uint32_t alignment, uint64_t *at) {
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

static int write_string(Target *target, const Plan *plan, const FieldPlan *field, PyObject *value, uint64_t *at) {
    Py_ssize_t length;
    const char *text = PyUnicode_Check(value) ? PyUnicode_AsUTF8AndSize(value, &length) : NULL;
    if (!text) {
        if (!PyErr_Occurred())
            refuse_value(plan, field, value, NULL);
        return -1;
    }
    uint64_t end;
    if (write_bytes(target, text, (uint64_t)length, 1, 4, at) < 0 || claim(target, 1, 0, 1, &end) < 0)
        return -1;
    if (target->out)
        target->out[end] = 0;
    return 0;
}

static int write_numbers(Target *target, const Plan *plan, const FieldPlan *field, PyObject *value, uint64_t *at) {
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
    int result = -1; /* it was checked when it was set, but a bytearray may have grown since */
    if ((field->exactly && count != field->exactly) || (field->multiple > 1 && count % field->multiple))
        refuse_value(plan, field, value, NULL);
    else
        result = write_bytes(target, view.buf, count, field->size, field->align, at);
    PyBuffer_Release(&view);
    return result;
}

/* A struct's bytes, wherever they lie. */
static int copy_struct(uint8_t *to, const Plan *plan, const Message *value) {
    if (!within(value->memory, value->at, plan->size)) {
        refuse_bytes(plan, "a struct reaches beyond the buffer");
        return -1;
    }
    if (to)
        memmove(to, value->memory->bytes + value->at, plan->size); /* it may be set to a part of itself */
    return 0;
}

static int write_structs(Target *target, const FieldPlan *field, PyObject *list, uint64_t *at) {
    Py_ssize_t count = PyList_Size(list);
    if (write_bytes(target, NULL, (uint64_t)count, field->size, field->align, at) < 0)
        return -1;
    for (Py_ssize_t i = 0; i < count; i++) {
        uint8_t *to = target->out ? target->out + *at + 4 + (uint64_t)i * field->size : NULL;
        if (copy_struct(to, field->sub, (Message *)PyList_GetItem(list, i)) < 0)
            return -1;
    }
    return 0;
}

static int write_lone_struct(Target *target, const Plan *plan, const Message *value, uint64_t *at) {
    if (claim(target, plan->align, 0, plan->size, at) < 0)
        return -1;
    return copy_struct(target->out ? target->out + *at : NULL, plan, value);
}

/* What a union, or an element of a vector of offsets, points to. */
static int write_target(Target *target, const Plan *plan, const FieldPlan *field, PyObject *value, uint64_t *at) {
    if (PyUnicode_Check(value))
        return write_string(target, plan, field, value, at);
    Message *message = (Message *)value;
    return message->plan->is_struct ? write_lone_struct(target, message->plan, message, at)
                                    : write_table(target, message, at);
}

static int write_offsets(Target *target, const Plan *plan, const FieldPlan *field, PyObject *list, uint64_t *at) {
    Py_ssize_t count = PyList_Size(list);
    if (write_bytes(target, NULL, (uint64_t)count, 4, 4, at) < 0)
        return -1;
    for (Py_ssize_t i = 0; i < count; i++) {
        uint64_t place = *at + 4 + 4 * (uint64_t)i, element;
        PyObject *value = i < PyList_Size(list) ? PyList_GetItem(list, i) : NULL;
        if (!value)
            return grown_too_large();
        element = place; /* of None, which has no alternative: nobody follows the offset 0 */
        Py_INCREF(value);
        int result = value == Py_None ? 0 : write_target(target, plan, field, value, &element);
        Py_DECREF(value);
        if (result < 0)
            return -1;
        if (target->out)
            put_u32(target, place, (uint32_t)(element - place));
    }
    return 0;
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

/* The user may have changed a list since it was checked: check what is written. */
static PyObject *checked_list(const Plan *plan, const FieldPlan *field, PyObject *value) {
    if (!PyObject_TypeCheck(value, Elements_Type))
        return convert_value(plan, field, value);
    return PySequence_List(value);
}

static int write_vector(Target *target, const Plan *plan, const FieldPlan *field, PyObject *value, uint64_t *at) {
    if (field->kind == SCALARS)
        return write_numbers(target, plan, field, value, at);
    PyObject *list = checked_list(plan, field, value);
    if (!list)
        return -1;
    int result = field->kind == STRUCTS ? write_structs(target, field, list, at)
                                        : write_offsets(target, plan, field, list, at);
    Py_DECREF(list);
    return result;
}

/* Tables ------------------------------------------------------------------------------------------------------ */

static int decide(const Target *target, const Plan *plan, const FieldPlan *field, PyObject *value, Place *place,
                  bool *there) {
    *there = value != NULL && value != Py_None;
    if (field->kind == SCALAR) {
        place->bits = field->default_bits;
        if (*there && scalar_bits(plan, field, value, &place->bits) < 0)
            return -1;
        if (target->reserve)
            *there |= !(field->flags & OPTIONAL);
        else if (!(field->flags & OPTIONAL))
            *there &= place->bits != field->default_bits;
    } else if (field->kind == STRUCT && target->reserve) {
        *there = true;
    } else if (*there && field->kind >= SCALARS && !target->reserve && !(field->flags & REQUIRED) &&
               field->absent != Py_None) {
        Py_ssize_t count = PyObject_Size(value); /* an absent one reads as empty, so an empty one need not be there */
        if (count < 0)
            return -1;
        *there = count > 0;
    } else if (!*there && field->flags & REQUIRED) {
        refuse_value(plan, field, Py_None, "it is required");
        return -1;
    }
    return 0;
}

/* Lays the fields that are there out behind one another; the table's size and alignment. */
static int lay_out(const Target *target, const Message *message, PyObject *const *values, Place *places, uint32_t *size,
                   uint32_t *alignment) {
    const Plan *plan = message->plan;
    uint32_t end = 0;
    *alignment = 4;
    for (uint32_t i = 0; i < plan->count; i++) {
        uint32_t index = plan->order[i];
        const FieldPlan *field = &plan->fields[index];
        Place *place = &places[index];
        bool there, in_line = field->kind == SCALAR || field->kind == STRUCT;
        place->offset = place->tag_offset = 0;
        if (decide(target, plan, field, values[index], place, &there) < 0)
            return -1;
        if (!there)
            continue;
        uint32_t width = in_line ? field->size : 4, align = in_line ? field->align : 4;
        end = (uint32_t)align_up(end, align);
        place->offset = 4 + end;
        end += width;
        if (field->kind == UNIONS) {
            place->tag_offset = 4 + end;
            end += 4;
        }
        if (align > *alignment)
            *alignment = align;
    }
    for (uint32_t i = 0; i < plan->count; i++)
        if (plan->fields[i].kind == UNION && places[i].offset)
            places[i].tag_offset = 4 + end++;
    *size = 4 + end;
    if (*size <= UINT16_MAX)
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

static int write_in_line(Target *target, const Message *message, PyObject *const *values, const Place *places,
                         uint64_t table) {
    const Plan *plan = message->plan;
    for (uint32_t i = 0; i < plan->count; i++) {
        const FieldPlan *field = &plan->fields[i];
        if (!places[i].offset)
            continue;
        uint8_t *to = target->out + table + places[i].offset;
        if (field->kind == SCALAR)
            scalar_store(field->base, to, places[i].bits);
        else if (field->kind == STRUCT && (!values[i] || values[i] == Py_None))
            memset(to, 0, field->size);
        else if (field->kind == STRUCT && copy_struct(to, field->sub, (Message *)values[i]) < 0)
            return -1;
        else if (field->kind == UNION)
            target->out[table + places[i].tag_offset] = union_member_for(field, values[i])->tag;
    }
    return 0;
}

static int write_child(Target *target, const Plan *plan, const FieldPlan *field, PyObject *value, const Place *place,
                       uint64_t table) {
    uint64_t at, slot = table + place->offset;
    int result;
    if (field->kind == STRING)
        result = write_string(target, plan, field, value, &at);
    else if (field->kind == TABLE)
        result = write_table(target, (Message *)value, &at);
    else if (field->kind == UNION)
        result = write_target(target, plan, field, value, &at);
    else
        result = write_vector(target, plan, field, value, &at);
    if (result < 0)
        return -1;
    if (target->out)
        put_u32(target, slot, (uint32_t)(at - slot));
    if (field->kind != UNIONS)
        return 0;
    PyObject *list = checked_list(plan, field, value);
    slot = table + place->tag_offset;
    result = list ? write_tags(target, field, list, &at) : -1;
    Py_XDECREF(list);
    if (result == 0 && target->out)
        put_u32(target, slot, (uint32_t)(at - slot));
    return result;
}

static int write_values(Target *target, Message *message, PyObject *const *values, Place *places, uint64_t *at) {
    const Plan *plan = message->plan;
    uint32_t size, alignment;
    uint64_t vtable;
    if (lay_out(target, message, values, places, &size, &alignment) < 0 ||
        write_vtable(target, plan, places, size, &vtable) < 0 || claim(target, alignment, 4, size, at) < 0)
        return -1;
    if (target->out) {
        memset(target->out + *at, 0, size);
        put_u32(target, *at, (uint32_t)(*at - vtable));
        if (write_in_line(target, message, values, places, *at) < 0)
            return -1;
    }
    for (uint32_t i = 0; i < plan->count; i++) {
        const FieldPlan *field = &plan->fields[i];
        PyObject *value = values[i];
        if (!places[i].offset || field->kind == SCALAR || field->kind == STRUCT)
            continue;
        if (!value)
            return grown_too_large();
        Py_INCREF(value);
        int result = write_child(target, plan, field, value, &places[i], *at);
        Py_DECREF(value);
        if (result < 0)
            return -1;
    }
    return 0;
}

/* A table that lies in a buffer is read into values first: its bytes may point anywhere. */
static int write_viewed(Target *target, Message *view, Place *places, uint64_t *at) {
    Message *copy = message_view(view->plan, view->memory, view->at, true);
    int result = copy && message_thaw(copy) == 0 ? write_values(target, copy, copy->values, places, at) : -1;
    Py_XDECREF(copy);
    return result;
}

static int write_table(Target *target, Message *message, uint64_t *at) {
    Place few[FEW_FIELDS], *places = few;
    if (++target->depth > MAX_DEPTH) {
        PyErr_Format(VerificationError, "messages nested deeper than %d", MAX_DEPTH);
        return -1;
    }
    if (message->plan->count > FEW_FIELDS && !(places = PyMem_Calloc(message->plan->count, sizeof *places))) {
        PyErr_NoMemory();
        return -1;
    }
    int result = message->values ? write_values(target, message, message->values, places, at)
                                 : write_viewed(target, message, places, at);
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
        return copy_struct(NULL, plan, message);
    memcpy(target->out + vtable_at, vtable, sizeof vtable);
    put_u32(target, *at, (uint32_t)(*at - vtable_at));
    return copy_struct(target->out + *at + 4, plan, message);
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

/* Structs ----------------------------------------------------------------------------------------------------- */

static int store_numbers(const Plan *plan, const FieldPlan *field, uint8_t *to, PyObject *value) {
    PyObject *kept = convert_value(plan, field, value);
    Py_buffer view;
    if (!kept || kept == Py_None || PyObject_GetBuffer(kept, &view, PyBUF_C_CONTIGUOUS) < 0) {
        if (kept == Py_None)
            refuse_value(plan, field, value, NULL);
        Py_XDECREF(kept);
        return -1;
    }
    memmove(to, view.buf, (size_t)view.len); /* exactly so many: convert_value has seen to it */
    PyBuffer_Release(&view);
    Py_DECREF(kept);
    return 0;
}

static int store_structs(const Plan *plan, const FieldPlan *field, uint8_t *to, PyObject *value) {
    PyObject *list = convert_value(plan, field, value);
    if (!list || list == Py_None) {
        if (list)
            refuse_value(plan, field, value, NULL);
        Py_XDECREF(list);
        return -1;
    }
    /* By way of other memory: they may be the same structs in another order. */
    uint8_t *copies = PyMem_Calloc(field->length, field->size);
    int result = copies ? 0 : (PyErr_NoMemory(), -1);
    for (uint32_t i = 0; result == 0 && i < field->length; i++)
        result = copy_struct(copies + (uint64_t)i * field->size, field->sub, (Message *)PyList_GetItem(list, i));
    if (result == 0)
        memcpy(to, copies, (uint64_t)field->length * field->size);
    PyMem_Free(copies);
    Py_DECREF(list);
    return result;
}

/* Sets a field of the struct that lies at `to`. */
int write_struct(const Plan *plan, uint8_t *to, const FieldPlan *field, PyObject *value) {
    uint64_t bits;
    to += field->offset;
    if (field->kind == SCALARS)
        return store_numbers(plan, field, to, value);
    if (field->kind == STRUCTS)
        return store_structs(plan, field, to, value);
    PyObject *kept = value == Py_None ? refuse_value(plan, field, value, NULL) : convert_value(plan, field, value);
    int result = -1;
    if (kept && field->kind == STRUCT)
        result = copy_struct(to, field->sub, (Message *)kept);
    else if (kept && scalar_bits(plan, field, kept, &bits) == 0) {
        scalar_store(field->base, to, bits);
        result = 0;
    }
    Py_XDECREF(kept);
    return result;
}
