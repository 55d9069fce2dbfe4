/* Verifying: one walk over a buffer by its plan, before anybody reads it.
 *
 * Besides bounds it checks what reading does not need but a FlatBuffer promises: alignment, required fields, UTF-8 and the
 * zero behind a string.  Tables may be shared, so a small buffer can describe a huge message; what is visited is
 * counted against a budget that grows with the buffer.  Source: flatbuffers.dev, "Internals".
 */
#include "codec.h"

typedef struct {
    const uint8_t *bytes;
    uint64_t size, budget;
    uint32_t depth;
    const Plan *plan; /* being visited, for the message */
} Walk;

static int refuse(const Walk *walk, const FieldPlan *field, const char *what) {
    if (field)
        PyErr_Format(VerificationError, "not a %U: field %U %s", walk->plan->name, field->name, what);
    else
        PyErr_Format(VerificationError, "not a %U: %s", walk->plan->name, what);
    return -1;
}

static bool inside(const Walk *walk, uint64_t at, uint64_t size) {
    return size <= walk->size && at <= walk->size - size;
}

static int pay(Walk *walk, const FieldPlan *field, uint64_t bytes) {
    if (bytes > walk->budget)
        return refuse(walk, field, "makes the message larger than its bytes can justify");
    walk->budget -= bytes;
    return 0;
}

/* Plain ASCII eight bytes at a time; else by the table of RFC 3629, section 4. */
bool is_utf8(const uint8_t *text, uint64_t length) {
    uint64_t i = 0;
    while (i < length) {
        uint64_t word;
        if (length - i >= 8 && (memcpy(&word, text + i, 8), !(word & UINT64_C(0x8080808080808080)))) {
            i += 8;
            continue;
        }
        uint8_t lead = load_u8(text + i);
        if (lead < 0x80) {
            i++;
            continue;
        }
        uint32_t more = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : 1;
        if (lead < 0xC2 || lead > 0xF4 || length - i <= more)
            return false;
        uint8_t second = load_u8(text + i + 1);
        uint8_t least = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
        uint8_t most = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
        if (second < least || second > most)
            return false;
        for (uint32_t k = 2; k <= more; k++)
            if ((text[i + k] & 0xC0) != 0x80)
                return false;
        i += more + 1;
    }
    return true;
}

static int walk_table(Walk *walk, const Plan *plan, uint64_t table);

static int walk_offset(Walk *walk, const FieldPlan *field, uint64_t at, uint64_t *target) {
    uint32_t offset = load_u32(walk->bytes + at);
    *target = at + offset;
    if (!offset || !inside(walk, *target, 4))
        return refuse(walk, field, "points beyond the buffer");
    if (*target & 3)
        return refuse(walk, field, "points to something that is not aligned");
    return 0;
}

static int walk_vector(Walk *walk, const FieldPlan *field, uint64_t at, uint32_t size, uint32_t alignment,
                       uint64_t *first, uint32_t *count) {
    uint64_t start;
    if (walk_offset(walk, field, at, &start) < 0)
        return -1;
    *count = load_u32(walk->bytes + start);
    *first = start + 4;
    if (!inside(walk, *first, (uint64_t)*count * size))
        return refuse(walk, field, "reaches beyond the buffer");
    if (*count && *first & (alignment - 1))
        return refuse(walk, field, "is not aligned");
    return pay(walk, field, 4 + (uint64_t)*count * size);
}

static int walk_string(Walk *walk, const FieldPlan *field, uint64_t at) {
    uint64_t first;
    uint32_t length;
    if (walk_vector(walk, field, at, 1, 1, &first, &length) < 0)
        return -1;
    if (!inside(walk, first + length, 1) || load_u8(walk->bytes + first + length))
        return refuse(walk, field, "has no zero behind its text");
    return is_utf8(walk->bytes + first, length) ? 0 : refuse(walk, field, "is not UTF-8");
}

static int walk_referred(Walk *walk, const FieldPlan *field, const Plan *plan, uint64_t at) {
    uint64_t target;
    if (!plan)
        return refuse(walk, field, "has no class any more");
    if (!plan->is_struct)
        return walk_offset(walk, field, at, &target) < 0 ? -1 : walk_table(walk, plan, target);
    uint32_t offset = load_u32(walk->bytes + at);
    target = at + offset;
    if (!offset || !inside(walk, target, plan->size) || target & (plan->align - 1))
        return refuse(walk, field, "points to no struct");
    return pay(walk, field, plan->size);
}

static int walk_member(Walk *walk, const FieldPlan *field, const UnionMember *member, uint64_t at) {
    return member->is_string ? walk_string(walk, field, at) : walk_referred(walk, field, member->plan, at);
}

static int walk_vtable(Walk *walk, uint64_t table, uint64_t *vtable, uint16_t *vtable_bytes, uint16_t *table_bytes) {
    if (table & 3 || !inside(walk, table, 4))
        return refuse(walk, NULL, "a table lies beyond the buffer, or is not aligned");
    int64_t at = (int64_t)table - load_i32(walk->bytes + table);
    if (at < 0 || at & 1 || !inside(walk, (uint64_t)at, 4))
        return refuse(walk, NULL, "a vtable lies beyond the buffer, or is not aligned");
    *vtable = (uint64_t)at;
    *vtable_bytes = load_u16(walk->bytes + at);
    *table_bytes = load_u16(walk->bytes + at + 2);
    if (*vtable_bytes < 4 || *vtable_bytes & 1 || !inside(walk, *vtable, *vtable_bytes))
        return refuse(walk, NULL, "a vtable has no possible length");
    if (*table_bytes < 4 || !inside(walk, table, *table_bytes))
        return refuse(walk, NULL, "a table reaches beyond the buffer");
    return 0;
}

typedef struct {
    uint64_t table, vtable;
    uint16_t vtable_bytes, table_bytes;
} Tables;

/* 1 with its place, 0 absent, -1 refused. */
static int place_of(const Walk *walk, const Tables *tables, const FieldPlan *field, uint32_t id, uint32_t size,
                    uint32_t alignment, uint64_t *at) {
    uint32_t entry = 4 + 2 * id;
    uint16_t offset = entry + 2 <= tables->vtable_bytes ? load_u16(walk->bytes + tables->vtable + entry) : 0;
    if (!offset)
        return 0;
    *at = tables->table + offset;
    if (offset < 4 || offset + (uint64_t)size > tables->table_bytes)
        return refuse(walk, field, "lies outside its table");
    if (*at & (alignment - 1))
        return refuse(walk, field, "is not aligned");
    return 1;
}

static int walk_union(Walk *walk, const Tables *tables, const FieldPlan *field, uint64_t at, int there) {
    uint64_t tag_at;
    int tagged = place_of(walk, tables, field, field->id - 1u, 1, 1, &tag_at);
    if (tagged < 0)
        return -1;
    uint8_t tag = tagged ? load_u8(walk->bytes + tag_at) : 0;
    if (!tag != !there)
        return refuse(walk, field, tag ? "has a tag and no value" : "has a value and no tag");
    const UnionMember *member = tag ? union_member(field, tag) : NULL;
    return member ? walk_member(walk, field, member, at) : 0; /* an unknown one is of a newer schema */
}

/* Both vectors or none: tags without values mean nothing, but other readers would look at them. */
static int walk_unions(Walk *walk, const Tables *tables, const FieldPlan *field, uint64_t at, int there) {
    uint64_t first = 0;
    uint32_t count = 0;
    if (there && walk_vector(walk, field, at, field->size, field->align, &first, &count) < 0)
        return -1;
    uint64_t tags_at, tags;
    uint32_t tag_count;
    int tagged = place_of(walk, tables, field, field->id - 1u, 4, 4, &tags_at);
    if (tagged < 0 || (tagged && walk_vector(walk, field, tags_at, 1, 1, &tags, &tag_count) < 0))
        return -1;
    if (!there && !tagged)
        return 0;
    if (!tagged || tag_count != count)
        return refuse(walk, field, "has another number of tags than of values");
    for (uint32_t i = 0; i < count; i++) {
        const UnionMember *member = union_member(field, load_u8(walk->bytes + tags + i));
        if (member && walk_member(walk, field, member, first + 4 * (uint64_t)i) < 0)
            return -1;
    }
    return 0;
}

static int walk_elements(Walk *walk, const FieldPlan *field, uint64_t at) {
    uint64_t first;
    uint32_t count;
    if (walk_vector(walk, field, at, field->size, field->align, &first, &count) < 0)
        return -1;
    if (field->kind == SCALARS) {
        if ((field->exactly && count != field->exactly) || (field->multiple > 1 && count % field->multiple))
            return refuse(walk, field, "has another number of elements than its shape allows");
        return 0;
    }
    for (uint32_t i = 0; field->kind != STRUCTS && i < count; i++) {
        uint64_t element = first + 4 * (uint64_t)i;
        if (field->kind == STRINGS ? walk_string(walk, field, element) < 0
                                   : walk_referred(walk, field, field->sub, element) < 0)
            return -1;
    }
    return 0;
}

static int walk_field(Walk *walk, const Tables *tables, const FieldPlan *field) {
    bool in_line = field->kind == SCALAR || field->kind == STRUCT;
    uint64_t at = 0;
    int there = place_of(walk, tables, field, field->id, in_line ? field->size : 4, in_line ? field->align : 4, &at);
    if (there < 0)
        return -1;
    if (!there && field->flags & REQUIRED)
        return refuse(walk, field, "is required and absent");
    if (field->kind == UNION)
        return walk_union(walk, tables, field, at, there);
    if (field->kind == UNIONS)
        return walk_unions(walk, tables, field, at, there);
    if (!there || in_line)
        return 0;
    if (field->kind == STRING)
        return walk_string(walk, field, at);
    if (field->kind == TABLE)
        return walk_referred(walk, field, field->sub, at);
    return walk_elements(walk, field, at);
}

static int walk_table(Walk *walk, const Plan *plan, uint64_t table) {
    const Plan *outer = walk->plan;
    Tables tables = {.table = table};
    walk->plan = plan;
    if (++walk->depth > MAX_DEPTH)
        return refuse(walk, NULL, "messages are nested too deeply");
    if (walk_vtable(walk, table, &tables.vtable, &tables.vtable_bytes, &tables.table_bytes) < 0 ||
        pay(walk, NULL, 4 + tables.table_bytes) < 0)
        return -1;
    for (uint32_t i = 0; i < plan->count; i++)
        if (walk_field(walk, &tables, &plan->fields[i]) < 0)
            return -1;
    walk->depth--;
    walk->plan = outer;
    return 0;
}

static int walk_boxed(Walk *walk, const Plan *plan, uint64_t table) {
    Tables tables = {.table = table};
    uint64_t at;
    if (walk_vtable(walk, table, &tables.vtable, &tables.vtable_bytes, &tables.table_bytes) < 0)
        return -1;
    int there = place_of(walk, &tables, NULL, 0, plan->size, plan->align, &at);
    return there > 0 ? 0 : there < 0 ? -1 : refuse(walk, NULL, "the struct is absent");
}

int verify_message(const Plan *plan, const Memory *memory) {
    Walk walk = {.bytes = memory->bytes, .size = memory->size, .plan = plan};
    walk.budget = 4 * memory->size + 65536; /* as budget_of(), which does not limit our own memory */
    if (!within(memory, 0, plan->identified ? 8 : 4))
        return refuse(&walk, NULL, "the buffer is too short");
    if (plan->identified && memcmp(memory->bytes + 4, plan->identifier, 4) != 0)
        return refuse(&walk, NULL, "it has another file identifier");
    uint64_t root = load_u32(memory->bytes);
    return plan->is_struct ? walk_boxed(&walk, plan, root) : walk_table(&walk, plan, root);
}
